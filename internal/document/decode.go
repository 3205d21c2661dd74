package document

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// decoder walks the struct and the YAML tree together. How deep it goes is bounded
// by the struct: what has no field is not looked into.
type decoder struct {
	report *Report
	opts   Options
	dir    string       // of the document
	whole  reflect.Type // of the whole document
}

func (d *decoder) root(n *yaml.Node, v reflect.Value) {
	d.report.places[""] = placeOf(n)
	if isMapping(d.report, n) {
		d.mapping("", n, v)
	}
}

// mapping decodes the fields of the struct v, whose defaults are set.
func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	first := make(map[string]int, len(n.Content)/2) // key to its line
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.report.add(placeOf(key), path, "", "the name of a field must be plain text, not %s", describe(key))
			continue
		}
		at := join(path, shorten(key.Value))
		if line, ok := first[key.Value]; ok {
			d.report.add(placeOf(key), at, "", "is given twice, first in line %d", line)
			continue
		}
		first[key.Value] = key.Line
		k := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if k < 0 {
			d.report.add(placeOf(key), at, d.suggestField(key.Value, fields), "there is no such field")
			continue
		}
		if isNull(value) {
			d.report.places[at] = placeOf(key)
			continue
		}
		d.report.places[at] = placeOf(value)
		if value.Kind != yaml.ScalarNode {
			d.report.places[at] = placeOf(key) // a block begins a line later
		}
		d.value(at, fields[k], value, v.Field(fields[k].index))
	}
	for _, f := range fields {
		fv := v.Field(f.index)
		if f.required && (fv.IsZero() || fv.Kind() == reflect.Slice && fv.Len() == 0) {
			if at := join(path, f.name); d.report.Has(at) {
				d.report.Mistake(at, "must not be empty")
			} else {
				d.report.Mistake(at, "is missing: %s", f.doc)
			}
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggestField is the hint for a field that is not known where it stands: the one
// that is meant, the places where there is such a field (the likely mistake is then
// the indentation), or what is known here.
func (d *decoder) suggestField(name string, here []field) string {
	if near := nearest(name, names(here)); near != "" {
		return didYouMean(near)
	}
	if paths := pathsOf(d.whole, "", name); len(paths) > 0 && len(paths) <= 3 {
		return didYouMean(paths...)
	}
	return known(names(here))
}

// value decodes one value into v by the rules of f.
func (d *decoder) value(path string, f field, n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.report.Mistake(path, "aliases are not supported: write the value itself")
	case n.Style&yaml.TaggedStyle != 0:
		d.report.Mistake(path, "tags such as %s are not supported", shorten(n.Tag))
	case v.Type() == secretType:
		d.secret(path, n, v)
	case v.Kind() == reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		if isSection(to.Type().Elem()) {
			setDefaults(to.Elem())
		}
		d.value(path, f, n, to.Elem())
		v.Set(to)
	case v.Kind() == reflect.Struct:
		if n.Kind != yaml.MappingNode {
			d.report.Mistake(path, "want a mapping of fields, not %s", describe(n))
			return
		}
		d.mapping(path, n, v)
	case v.Kind() == reflect.Slice:
		d.list(path, f, n, v)
	case v.Kind() == reflect.Map:
		d.table(path, f, n, v)
	default:
		d.scalar(path, f, n, v)
	}
}

func (d *decoder) list(path string, f field, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = "in brackets: [" + quote(n.Value) + "]"
		}
		d.report.MistakeHint(path, hint, "want a list, not %s", describe(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := Index(path, i)
		d.report.places[at] = placeOf(item)
		if isNull(item) {
			d.report.Mistake(at, "must not be empty")
			continue
		}
		if isSection(v.Type().Elem()) {
			setDefaults(list.Index(i))
		}
		d.value(at, f, item, list.Index(i))
	}
	v.Set(list)
}

// table decodes a mapping whose keys are the document's own.
func (d *decoder) table(path string, f field, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.report.Mistake(path, "want a mapping, not %s", describe(n))
		return
	}
	table := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.report.add(placeOf(key), path, "", "the key must be plain text, not %s", describe(key))
			continue
		}
		at := join(path, shorten(key.Value))
		k := reflect.New(v.Type().Key()).Elem()
		if err := setScalar(k, key.Value); err != nil {
			d.report.add(placeOf(key), at, "", "%s is %v", quote(key.Value), err)
			continue
		}
		if table.MapIndex(k).IsValid() {
			d.report.add(placeOf(key), at, "", "is given twice")
			continue
		}
		d.report.places[at] = placeOf(key)
		item := reflect.New(v.Type().Elem()).Elem()
		if isNull(value) {
			d.report.Mistake(at, "must not be empty")
		} else {
			d.value(at, f, value, item)
		}
		table.SetMapIndex(k, item)
	}
	v.Set(table)
}

func (d *decoder) scalar(path string, f field, n *yaml.Node, v reflect.Value) {
	want := wanted(v.Type())
	if n.Kind != yaml.ScalarNode {
		d.report.Mistake(path, "want %s, not %s", want, describe(n))
		return
	}
	text, expanded, ok := d.text(path, n)
	if !ok {
		return
	}
	// What a variable says has no type of its own.
	if kind := tagFor(v.Type()); kind != "" && n.Tag != kind && !expanded {
		hint := ""
		if kind == "!!str" {
			hint = "in quotes: " + quote(n.Value)
		}
		d.report.MistakeHint(path, hint, "want %s, not %s", want, describe(n))
		return
	}
	fresh := reflect.New(v.Type()).Elem()
	if err := setScalar(fresh, text); err != nil {
		d.report.Mistake(path, "%s is %v", quote(text), err)
		return
	}
	if f.enum != nil && !slices.Contains(f.enum, text) {
		d.report.MistakeHint(path, suggest(text, f.enum), "%s is not allowed", quote(text))
		return
	}
	if f.min != "" || f.max != "" {
		if problem := f.outside(fresh); problem != "" {
			d.report.Mistake(path, "%s %s", quote(text), problem)
			return
		}
	}
	v.Set(fresh)
}

// text is the text of a scalar with its variables replaced.
func (d *decoder) text(path string, n *yaml.Node) (text string, expanded, ok bool) {
	if d.opts.Env == nil {
		return n.Value, false, true
	}
	text, err := expand(n.Value, d.opts.Env)
	if err != nil {
		d.report.Mistake(path, "%v", err)
		return "", false, false
	}
	return text, text != n.Value, true
}

// tagFor is the YAML tag that a scalar of type t must have; "" for any.
func tagFor(t reflect.Type) string {
	switch {
	case t == durationType, t == sizeType:
		return ""
	case t.Kind() == reflect.String:
		return "!!str"
	case t.Kind() == reflect.Bool:
		return "!!bool"
	}
	return "!!int"
}

// wanted says what a scalar of type t is.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return `a duration such as "10s"`
	case t == sizeType:
		return `a size such as "64MiB"`
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}
