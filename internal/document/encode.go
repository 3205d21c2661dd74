package document

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Encode writes a struct as a YAML document that Decode reads back. Secrets are
// written as Secret.MarshalYAML says.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
