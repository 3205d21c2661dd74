package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"freshet/internal/cluster"
	"freshet/internal/document"
)

// Read reads a node file's text: defaults are filled in, variables and secrets are
// replaced by what they stand for, paths are made relative to the working directory,
// and everything is valid. The error is document.Errors, with every mistake. file is
// the name of the text, whose directory relative paths are taken from.
func Read(file string, text []byte, lookupEnv func(string) (string, bool)) (*File, error) {
	f := new(File)
	report := document.Decode(file, text, f, document.Options{Env: lookupEnv})
	f.check(report)
	if err := report.Err(); err != nil {
		return nil, err
	}
	f.clean(filepath.Dir(file))
	return f, nil
}

// ReadFile reads the node file at path with the process's environment. The error is
// document.Errors for mistakes in the file, else it wraps that of reading it.
func ReadFile(path string) (*File, error) {
	text, err := document.ReadFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, fmt.Errorf("read node file %s: %w", path, err)
	}
	return Read(path, text, os.LookupEnv)
}

// New is a File with every default and nothing else: what a program fills in that
// writes node files itself.
func New(role cluster.Role, name string) *File {
	f := new(File)
	document.SetDefaults(f)
	f.Role, f.Name = role, name
	f.clean("")
	return f
}

// clean empties the sections of other roles and resolves relative paths.
func (f *File) clean(dir string) {
	if !f.caches() {
		f.Cache, f.HTTPS, f.ProxyProtocol, f.Limits, f.Log.Access = Cache{}, HTTPS{}, nil, Limits{}, ""
	}
	if f.Role == cluster.Mid && f.Cache.Tier == 0 {
		f.Cache.Tier = 1
	}
	if f.Role != cluster.Router {
		f.Router = Router{}
	}
	paths := []*string{
		&f.Data, &f.Cache.Site,
		&f.Cluster.TLS.CA, &f.Cluster.TLS.Cert, &f.Cluster.TLS.Key,
		&f.Bus.TLS.CA, &f.Bus.TLS.Cert, &f.Bus.TLS.Key,
		&f.HTTPS.Dir, &f.Identity.CA, &f.Identity.Cert, &f.Identity.Key,
	}
	if f.HTTPS.ACME != nil {
		paths = append(paths, &f.HTTPS.ACME.CA)
	}
	for i := range f.HTTPS.Certificates {
		paths = append(paths, &f.HTTPS.Certificates[i].Cert, &f.HTTPS.Certificates[i].Key)
	}
	for i := range f.Cache.Disk {
		paths = append(paths, &f.Cache.Disk[i].Dir)
	}
	if f.Log.Access != AccessStdout {
		paths = append(paths, &f.Log.Access)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// caches reports whether the role has a cache.
func (f *File) caches() bool { return f.Role == cluster.Edge || f.Role == cluster.Mid }

// Alone reports whether the node needs no cluster and no bus: an edge or a mid with
// an upstream of its own.
func (f *File) Alone() bool { return f.caches() && f.Cache.Upstream != "" }

// Text writes the file as YAML that Read reads back. A secret in the clear is not
// written: use document.SecretFile.
func (f *File) Text() ([]byte, error) {
	text, err := document.Encode(f)
	if err != nil {
		return nil, fmt.Errorf("write node file of %s: %w", f.Name, err)
	}
	// What looks like a variable is not one: they were replaced when f was read.
	return bytes.ReplaceAll(text, []byte("${"), []byte("$${")), nil
}

// Schema is the JSON Schema of node files.
func Schema() ([]byte, error) {
	return document.Schema(File{}, document.SchemaConfig{
		Title:     "Freshet node file",
		ID:        "urn:freshet:schema:node",
		Variables: true,
	})
}
