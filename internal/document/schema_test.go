package document

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	text, err := Schema(sample{}, SchemaConfig{Title: "Sample", ID: "urn:sample"})
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Schema, ID, Title string
		Type              string
		Required          []string
		Additional        *bool          `json:"additionalProperties"`
		Properties        map[string]any `json:"properties"`
		Defs              map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	if root.Type != "object" || root.Title != "Sample" || !slices.Equal(root.Required, []string{"name"}) || root.Additional == nil || *root.Additional {
		t.Errorf("the root is %+v", root)
	}
	want := map[string]string{
		"name":  `{"type": "string", "minLength": 1, "description": "Who it is."}`,
		"level": `{"type": "string", "enum": ["low", "medium", "high"], "default": "low", "description": "How much."}`,
		"count": `{"type": "integer", "default": 2, "minimum": 1, "maximum": 8, "description": "How many."}`,
		"on":    `{"type": "boolean", "description": "Whether."}`,
		"wait":  `{"$ref": "#/$defs/duration", "default": "10s", "description": "How long. From 1s to 1h."}`,
		"room":  `{"$ref": "#/$defs/size", "default": "1MiB", "description": "How large. At least 1KiB."}`,
		"hosts": `{"type": "array", "items": {"type": "string"}, "description": "Which."}`,
		"key":   `{"$ref": "#/$defs/secret", "description": "What nobody may know."}`,
		"inner": `{"type": "object", "additionalProperties": false, "required": ["id"], "description": "More.", "properties": {
			"id": {"type": "string", "minLength": 1, "description": "Its id."},
			"wait": {"$ref": "#/$defs/duration", "default": "3s", "description": "How long."}}}`,
	}
	for name, text := range want {
		var prop any
		if err := json.Unmarshal([]byte(text), &prop); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(root.Properties[name], prop) {
			t.Errorf("%s is %v, want %v", name, root.Properties[name], prop)
		}
	}
	if len(root.Properties) != len(want)+1 {
		t.Errorf("%d properties", len(root.Properties))
	}
	for _, name := range []string{"duration", "size", "secret"} {
		if root.Defs[name] == nil {
			t.Errorf("no definition of %s", name)
		}
	}
	if first, second := strings.Index(string(text), `"name"`), strings.Index(string(text), `"count"`); first > second {
		t.Error("the fields are not in the order of the struct")
	}
}

func TestSchemaWithVariables(t *testing.T) {
	t.Parallel()
	text, err := Schema(sample{}, SchemaConfig{Variables: true})
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Properties map[string]struct {
			Type  string
			AnyOf []map[string]any
			Items map[string]any
		}
		Defs map[string]struct{ Pattern string } `json:"$defs"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"count", "on", "wait", "room", "level"} {
		either := root.Properties[name].AnyOf
		if len(either) != 2 || either[1]["$ref"] != "#/$defs/variable" {
			t.Errorf("%s may not be a variable: %v", name, either)
		}
	}
	if root.Properties["name"].Type != "string" {
		t.Error("a string is anything but a string")
	}
	variable := regexp.MustCompile(root.Defs["variable"].Pattern)
	for text, want := range map[string]bool{"${A}": true, "x${A_1:-b c}": true, "$A": false, "${}": false, "${1}": false} {
		if variable.MatchString(text) != want {
			t.Errorf("variable %q: %v", text, !want)
		}
	}
}

func TestEncodeReadsBack(t *testing.T) {
	t.Parallel()
	opts := environment(map[string]string{"NAME": "secret"})
	var in, out sample
	text := "name: 'yes'\ncount: 3\nwait: 1m\nroom: 5000\nhosts: ['*', '12', '']\nkey: {env: NAME}\ninner: {id: i}\nitems: [{id: a}, {id: b}]\n"
	if err := Decode("f", []byte(text), &in, opts).Err(); err != nil {
		t.Fatal(err)
	}
	encoded, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := Decode("f", encoded, &out, opts).Err(); err != nil {
		t.Fatalf("%v in\n%s", err, encoded)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("in  %+v\nout %+v\n%s", in, out, encoded)
	}
}

func TestSetDefaults(t *testing.T) {
	t.Parallel()
	var s sample
	SetDefaults(&s)
	if s.Level != "low" || s.Count != 2 || s.Room != 1<<20 || s.Inner.Wait.String() != "3s" {
		t.Errorf("got %+v", s)
	}
}
