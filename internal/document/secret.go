package document

import (
	"fmt"
	"io"
)

// Secret is a value that never shows in logs or errors. It is written as a mapping
// with one key: file (the file's content less a final newline), env (a variable's
// value) or value (in the clear; for tests and demos). It remembers from which file
// or variable it came, and that is how it is written again.
type Secret struct {
	value    string
	key, ref string // "file" or "env", and of what; empty for a value in the clear
}

// hidden stands for the value wherever a Secret is printed.
const hidden = "[secret]"

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value: value} }

// SecretFile is a secret for a document that is to be written: it stands there as a
// reference to the file at path, and whoever reads the document reads the file. Its
// own Value is empty.
func SecretFile(path string) Secret { return Secret{key: "file", ref: path} }

// Value is the secret in the clear; "" when none was given.
func (s Secret) Value() string { return s.value }

// IsZero reports whether there is no secret, nor a reference to one.
func (s Secret) IsZero() bool { return s == Secret{} }

// String hides the value.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format hides the value under every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the value, in JSON and in logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML writes the reference to the file or variable. A value in the clear is
// hidden, and the document cannot be read back.
func (s Secret) MarshalYAML() (any, error) {
	switch {
	case s.key != "":
		return map[string]string{s.key: s.ref}, nil
	case s.value != "":
		return hidden, nil
	}
	return nil, nil
}
