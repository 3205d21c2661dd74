package document

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// field is one field of a document's struct, as its tags say.
type field struct {
	index    int
	name     string
	doc      string
	required bool
	enum     []string
	byDef    string // the default as text; "" for none
	min, max string
}

var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
)

// fieldsOf lists the fields of t that are part of the document.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := field{
			index: i, name: name, doc: tag.Get("doc"), required: tag.Get("required") == "true",
			byDef: tag.Get("default"), min: tag.Get("min"), max: tag.Get("max"),
		}
		if enum := tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

// names of the fields, as written.
func names(fields []field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}

// pathsOf lists where in t there are fields of that name: "router.ttl",
// "zones[].name".
func pathsOf(t reflect.Type, path, name string) []string {
	var paths []string
	for _, f := range fieldsOf(t) {
		at, ft := join(path, f.name), t.Field(f.index).Type
		if f.name == name {
			paths = append(paths, at)
		}
		if ft.Kind() == reflect.Slice {
			at, ft = at+"[]", ft.Elem()
		}
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if isSection(ft) {
			paths = append(paths, pathsOf(ft, at, name)...)
		}
	}
	return paths
}

// setDefaults gives every field of v, and of the structs in it, its default.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.Field(f.index)
		switch {
		case isSection(fv.Type()):
			setDefaults(fv)
		case f.byDef != "":
			mustSet(fv, f.byDef)
		}
	}
}

// isSection reports whether a field of type t is written as a mapping of its own
// fields.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != secretType }

// setScalar gives v the value that text stands for. The error says what is wrong
// with the text.
func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errors.New("not true or false")
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if errors.Is(err, strconv.ErrRange) {
			return errTooMuch
		} else if err != nil {
			return errors.New("not a whole number")
		}
		v.SetInt(n)
	default:
		panic(fmt.Sprintf("document: fields of type %s are not supported", v.Type()))
	}
	return nil
}

// mustSet is setScalar for the text of a tag, which only a programmer gets wrong.
func mustSet(v reflect.Value, text string) {
	if err := setScalar(v, text); err != nil {
		panic(fmt.Sprintf("document: tag of a %s: %q: %v", v.Type(), text, err))
	}
}

// outside says how v lies outside the bounds of f, or "".
func (f field) outside(v reflect.Value) string {
	bound := reflect.New(v.Type()).Elem()
	if f.min != "" {
		if mustSet(bound, f.min); v.Int() < bound.Int() {
			return "must be at least " + f.min
		}
	}
	if f.max != "" {
		if mustSet(bound, f.max); v.Int() > bound.Int() {
			return "must be at most " + f.max
		}
	}
	return ""
}
