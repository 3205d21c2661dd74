package document

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretKeys are the ways to give a secret.
var secretKeys = []string{"file", "env", "value"}

// secret decodes a secret. Its mistakes never repeat what the document has.
func (d *decoder) secret(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		d.report.MistakeHint(path, "such as {file: secrets/token}", "want a mapping with one of file, env and value")
		return
	}
	key, value := n.Content[0], n.Content[1]
	at := join(path, key.Value)
	if key.Kind != yaml.ScalarNode || !slices.Contains(secretKeys, key.Value) {
		d.report.add(placeOf(key), path, suggest(key.Value, secretKeys), "want a mapping with one of file, env and value")
		return
	}
	d.report.places[at] = placeOf(value)
	if value.Kind != yaml.ScalarNode || isNull(value) {
		d.report.Mistake(at, "want a string")
		return
	}
	if key.Value != "value" && d.opts.Env == nil {
		d.report.Mistake(at, "this document may not read files or the environment")
		return
	}
	text, _, ok := d.text(at, value)
	if !ok {
		return
	}
	s := Secret{value: text}
	switch key.Value {
	case "env":
		name := text
		if text, ok = d.opts.Env(name); !ok {
			d.report.Mistake(at, "the environment variable %s is not set", shorten(name))
			return
		}
		s = Secret{value: text, key: "env", ref: name}
	case "file":
		name := text
		if !filepath.IsAbs(name) {
			name = filepath.Join(d.dir, name)
		}
		content, err := readAtMost(name, MaxSecret)
		var pathErr *fs.PathError
		switch {
		case errors.As(err, &pathErr):
			d.report.Mistake(at, "cannot read %s: %v", name, pathErr.Err)
			return
		case err != nil:
			d.report.Mistake(at, "cannot read %s: %v", name, err)
			return
		case len(content) > MaxSecret:
			d.report.Mistake(at, "%s is larger than %d bytes", name, MaxSecret)
			return
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
		s = Secret{value: text, key: "file", ref: name}
	}
	if s.value == "" {
		d.report.Mistake(at, "the secret is empty")
		return
	}
	v.Set(reflect.ValueOf(s))
}
