// Package document reads what people write: YAML documents into Go structs, with
// every mistake reported at once and each with its place. Node files (package
// node) and site documents (package site) are read through it.
//
// The structs are the only description of a document: Decode checks against
// them, Schema prints them as a JSON Schema, Encode writes them. Fields are
// strings, bools, ints, Duration, Size, Secret, structs, slices of these, maps of
// scalars by strings or ints, and pointers, which stay nil where the document has
// nothing; their tags say what Go types cannot:
//
//	yaml:"name"        the key; "-" where the field is not part of the document
//	doc:"…"            what it is, for the schema
//	required:"true"    must be there, and not empty
//	enum:"a,b"         the strings allowed
//	default:"10s"      set where the document has nothing, written as in the document
//	min:"1" max:"9"    bounds of numbers, durations and sizes, written likewise
//
// A key with no value ("cache:") counts as not there. Of YAML a document uses one
// mapping of plain values: aliases, tags and a second document are mistakes.
package document

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
)

// Limits of one document. Policy: far above what anybody writes by hand.
const (
	MaxText     = 1 << 20  // bytes of text
	MaxMistakes = 100      // mistakes reported; the last says that there are more
	MaxSecret   = 64 << 10 // bytes of a secret's file
)

// Options say what a document may draw on besides its own text. The zero value is
// for documents from elsewhere: they read neither the environment nor files.
type Options struct {
	// Env looks environment variables up, for ${NAME} and ${NAME:-default} in any
	// scalar ($${ stands for ${) and for secrets. With nil, ${NAME} is ordinary text
	// and a secret can only be given as value.
	Env func(name string) (string, bool)
}

// Decode reads text into the struct that into points to: defaults first, then what
// the document says. The report has every mistake found; fields with a mistake keep
// their default. The caller adds its own findings to the report and asks it for
// Err. file names the text in mistakes, and the files of secrets are relative to its
// directory.
func Decode(file string, text []byte, into any, opts Options) *Report {
	r := newReport(file)
	v := reflect.ValueOf(into).Elem()
	setDefaults(v)
	root := parse(r, text)
	if root == nil {
		return r
	}
	d := decoder{report: r, opts: opts, dir: filepath.Dir(file), whole: v.Type()}
	d.root(root, v)
	return r
}

// ReadFile reads a file that is to be decoded: all of it, or as much as shows that it
// is too large.
func ReadFile(path string) ([]byte, error) { return readAtMost(path, MaxText) }

// readAtMost reads limit bytes of a file and one more if there are more.
func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// SetDefaults gives the fields of the struct that into points to their defaults.
func SetDefaults(into any) { setDefaults(reflect.ValueOf(into).Elem()) }

// TopLevel names the keys of a document's outermost mapping, in order, without
// judging them. The error is Errors where the text is no such mapping.
func TopLevel(file string, text []byte) ([]string, error) {
	r := newReport(file)
	root := parse(r, text)
	if root == nil || !isMapping(r, root) {
		return nil, r.Err()
	}
	var keys []string
	for i := 0; i < len(root.Content); i += 2 {
		keys = append(keys, root.Content[i].Value)
	}
	return keys, nil
}
