// Package demo is the site that `freshet dev` shows: a few pages with a style and a
// script, and some megabytes of pictures and music that are computed at start, so
// that nothing large is kept in the repository and nothing is downloaded. The same
// arguments give the same bytes on the same architecture.
package demo

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"image/jpeg"
	"image/png"
	"io"
	"sync"
)

// Name is the name of the site.
const Name = "demo"

// Places says where the CDN that serves the site is reached. The pages show them
// in the commands that a visitor may try.
type Places struct {
	Host   string // a host name of the site that the router answers for
	Edge   string // host:port of an edge
	Router string // IP address of the name server
	DNS    string // its port
}

// File is one object of the site.
type File struct {
	Path        string // begins with a slash; the front page is /index.html
	ContentType string
	Body        []byte
}

//go:embed site
var sources embed.FS

// Sizes of what is drawn, in pixels.
const (
	picturesWidth  = 960
	picturesHeight = 600
	iconSize       = 192
)

// Files is the whole site, in no promised order. The first call computes the media,
// for about half a second; later ones share them, so bodies are only to be read.
func Files(at Places) ([]File, error) {
	var files []File
	for _, part := range []func() ([]File, error){func() ([]File, error) { return pages(at) }, copies, media} {
		made, err := part()
		if err != nil {
			return nil, fmt.Errorf("make the demo site: %w", err)
		}
		files = append(files, made...)
	}
	return files, nil
}

// media are made once in a process, however many sites show them.
var media = sync.OnceValues(makeMedia)

// makeMedia computes pictures and music on all processors.
func makeMedia() ([]File, error) {
	type maker struct {
		path, contentType string
		write             func(io.Writer) error
	}
	shapes := sync.OnceValue(func() *scenery { return newScenery(picturesWidth, picturesHeight) })
	makers := []maker{
		{"/media/freshet.wav", "audio/wav", writeTune},
		{"/images/watershed.png", "image/png", func(w io.Writer) error { return png.Encode(w, watershed(picturesWidth, picturesHeight)) }},
		{"/images/icon.png", "image/png", func(w io.Writer) error { return png.Encode(w, icon(iconSize)) }},
	}
	for _, h := range hours {
		makers = append(makers, maker{h.Path(), "image/jpeg", func(w io.Writer) error {
			return jpeg.Encode(w, lake(shapes(), h), &jpeg.Options{Quality: 88})
		}})
	}
	files := make([]File, len(makers))
	errs := make([]error, len(makers))
	var wg sync.WaitGroup
	for i, m := range makers {
		wg.Go(func() {
			var b bytes.Buffer
			if err := m.write(&b); err != nil {
				errs[i] = fmt.Errorf("%s: %w", m.path, err)
			}
			files[i] = File{m.path, m.contentType, b.Bytes()}
		})
	}
	wg.Wait()
	return files, errors.Join(errs...)
}

// copies are the files that are served as they stand in the package.
func copies() ([]File, error) {
	var files []File
	for _, f := range []struct{ name, contentType string }{
		{"style.css", "text/css; charset=utf-8"},
		{"live.js", "text/javascript; charset=utf-8"},
		{"logo.svg", "image/svg+xml"},
		{"journey.svg", "image/svg+xml"},
	} {
		body, err := sources.ReadFile("site/" + f.name)
		if err != nil {
			return nil, err
		}
		files = append(files, File{"/" + f.name, f.contentType, body})
	}
	return files, nil
}

// pages renders the pages into the frame that they share.
func pages(at Places) ([]File, error) {
	var files []File
	for _, name := range []string{"index.html", "gallery.html", "about.html", "404.html"} {
		t, err := template.ParseFS(sources, "site/frame.html", "site/"+name)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		data := struct {
			Page   string
			Places Places
			Hours  []hour
		}{name, at, hours}
		if err := t.ExecuteTemplate(&b, "frame.html", data); err != nil {
			return nil, err
		}
		files = append(files, File{"/" + name, "text/html; charset=utf-8", b.Bytes()})
	}
	return files, nil
}
