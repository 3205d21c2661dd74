package document

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// SchemaConfig is what a schema says beside the fields.
type SchemaConfig struct {
	Title     string
	ID        string // an absolute URI
	Variables bool   // whether ${NAME} may stand for any scalar (Options.Env)
}

// schema is one node of a JSON Schema.
type schema struct {
	Schema      string     `json:"$schema,omitempty"`
	ID          string     `json:"$id,omitempty"`
	Ref         string     `json:"$ref,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        any        `json:"type,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	Default     any        `json:"default,omitempty"`
	Minimum     any        `json:"minimum,omitempty"`
	Maximum     any        `json:"maximum,omitempty"`
	MinLength   int        `json:"minLength,omitempty"`
	MinItems    int        `json:"minItems,omitempty"`
	Items       *schema    `json:"items,omitempty"`
	AnyOf       []*schema  `json:"anyOf,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Additional  any        `json:"additionalProperties,omitempty"`
	Names       *schema    `json:"propertyNames,omitempty"`
	MinProps    int        `json:"minProperties,omitempty"`
	MaxProps    int        `json:"maxProperties,omitempty"`
	Defs        properties `json:"$defs,omitempty"`
}

// properties are schemas by name, in the order of the struct's fields.
type properties []property

type property struct {
	name string
	*schema
}

func (ps properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range ps {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(p.name)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(p.schema)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Schema prints the JSON Schema (draft 2020-12) of the documents that Decode reads
// into a struct such as v.
func Schema(v any, config SchemaConfig) ([]byte, error) {
	w := schemaWriter{variables: config.Variables}
	root := w.section(reflect.TypeOf(v))
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.ID, root.Title = config.ID, config.Title
	root.Defs = w.defs()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type schemaWriter struct{ variables bool }

func (w schemaWriter) defs() properties {
	defs := properties{
		{"duration", &schema{Type: "string", Pattern: durationPattern, Description: `A duration: "10s", "5m", "1h30m", "7d".`}},
		{"size", &schema{
			AnyOf:       []*schema{{Type: "integer", Minimum: 0}, {Type: "string", Pattern: sizePattern}},
			Description: `A number of bytes: 512, "64KiB", "256MiB", "1.5GB".`,
		}},
		{"secret", &schema{
			Type: "object", Additional: false, MinProps: 1, MaxProps: 1,
			Description: "A value that is kept out of logs.",
			Properties: properties{
				{"file", &schema{Type: "string", Description: "The file that holds it; relative to the document's directory."}},
				{"env", &schema{Type: "string", Description: "The environment variable that holds it."}},
				{"value", &schema{Type: "string", Description: "The value in the clear, for tests and demos."}},
			},
		}},
	}
	if w.variables {
		defs = append(defs, property{"variable", &schema{Type: "string", Pattern: variablePattern, Description: "${NAME} or ${NAME:-default}, from the environment."}})
	}
	return defs
}

// section is the schema of a struct.
func (w schemaWriter) section(t reflect.Type) *schema {
	s := &schema{Type: "object", Additional: false}
	for _, f := range fieldsOf(t) {
		if f.required {
			s.Required = append(s.Required, f.name)
		}
		s.Properties = append(s.Properties, property{f.name, w.field(f, t.Field(f.index).Type)})
	}
	return s
}

// field is the schema of one field. Whatever is not required may also have no value.
func (w schemaWriter) field(f field, t reflect.Type) *schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := w.value(f, t)
	s.Description = f.doc
	if f.byDef != "" {
		s.Default = literal(t, f.byDef)
	}
	switch {
	case t == durationType, t == sizeType:
		s.Description += bounds(f)
	case t.Kind() == reflect.Slice && f.required:
		s.MinItems = 1
	case t.Kind() == reflect.String && f.required && len(f.enum) == 0:
		s.MinLength = 1
	}
	return s
}

func (w schemaWriter) value(f field, t reflect.Type) *schema {
	switch {
	case t == secretType:
		return &schema{Ref: "#/$defs/secret"}
	case t.Kind() == reflect.Struct:
		return w.section(t)
	case t.Kind() == reflect.Map:
		names := &schema{Type: "string", MinLength: 1}
		if t.Key().Kind() != reflect.String {
			names = &schema{Pattern: "^[0-9]+$"}
		}
		return &schema{Type: "object", Names: names, Additional: w.value(field{enum: f.enum, min: f.min, max: f.max}, t.Elem())}
	case t.Kind() == reflect.Slice:
		return &schema{Type: "array", Items: w.value(field{enum: f.enum, min: f.min, max: f.max}, t.Elem())}
	}
	s := scalarSchema(f, t)
	if w.variables && (s.Type != "string" || s.Enum != nil) {
		s = &schema{AnyOf: []*schema{s, {Ref: "#/$defs/variable"}}}
	}
	return s
}

func scalarSchema(f field, t reflect.Type) *schema {
	switch {
	case t == durationType:
		return &schema{Ref: "#/$defs/duration"}
	case t == sizeType:
		return &schema{Ref: "#/$defs/size"}
	case t.Kind() == reflect.String:
		return &schema{Type: "string", Enum: f.enum}
	case t.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	}
	s := &schema{Type: "integer"}
	if f.min != "" {
		s.Minimum = literal(t, f.min)
	}
	if f.max != "" {
		s.Maximum = literal(t, f.max)
	}
	return s
}

// literal is the JSON value of a tag's text.
func literal(t reflect.Type, text string) any {
	v := reflect.New(t).Elem()
	mustSet(v, text)
	return v.Interface()
}

// bounds says in words what JSON Schema cannot.
func bounds(f field) string {
	switch {
	case f.min != "" && f.max != "":
		return " From " + f.min + " to " + f.max + "."
	case f.min != "":
		return " At least " + f.min + "."
	case f.max != "":
		return " At most " + f.max + "."
	}
	return ""
}
