package demo

import (
	"bytes"
	"encoding/binary"
	"image"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var places = Places{Host: "www.demo.freshet.example", Edge: "127.0.0.11:8080", Router: "127.0.0.1", DNS: "5353"}

func makeSite(t *testing.T) map[string]File {
	t.Helper()
	files, err := Files(places)
	if err != nil {
		t.Fatal(err)
	}
	site := map[string]File{}
	for _, f := range files {
		if _, ok := site[f.Path]; ok {
			t.Errorf("%s is there twice", f.Path)
		}
		site[f.Path] = f
	}
	return site
}

func TestFiles(t *testing.T) {
	site := makeSite(t)
	total := 0
	for path, f := range site {
		total += len(f.Body)
		if len(f.Body) == 0 || f.ContentType == "" || !strings.HasPrefix(path, "/") {
			t.Errorf("%s: %d bytes of %q", path, len(f.Body), f.ContentType)
		}
		switch f.ContentType {
		case "image/png", "image/jpeg":
			img, format, err := image.Decode(bytes.NewReader(f.Body))
			if err != nil || "image/"+format != f.ContentType || img.Bounds().Empty() {
				t.Errorf("%s is no %s: %s, %v", path, f.ContentType, format, err)
			}
		case "audio/wav":
			if size := binary.LittleEndian.Uint32(f.Body[4:]); int(size)+8 != len(f.Body) || string(f.Body[8:12]) != "WAVE" {
				t.Errorf("%s: header says %d bytes of %q, file has %d", path, size+8, f.Body[8:12], len(f.Body))
			}
		}
	}
	if total < 3<<20 || total > 8<<20 {
		t.Errorf("site has %d bytes, want 3 to 8 MiB", total)
	}
	again, err := makeMedia()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range again {
		if !bytes.Equal(site[f.Path].Body, f.Body) {
			t.Errorf("%s differs when it is made again", f.Path)
		}
	}
}

var link = regexp.MustCompile(`(?:href|src|data-live)="([^"]*)"`)

// Every link leads to a file, and every file is reached by one.
func TestLinks(t *testing.T) {
	site := makeSite(t)
	reached := map[string]bool{}
	for path, f := range site {
		if !strings.HasPrefix(f.ContentType, "text/html") {
			continue
		}
		for _, m := range link.FindAllSubmatch(f.Body, -1) {
			target, fragment, _ := strings.Cut(string(m[1]), "#")
			if strings.HasSuffix(target, "/") {
				target += "index.html"
			}
			reached[target] = true
			to, ok := site[target]
			if !ok {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			} else if fragment != "" && !bytes.Contains(to.Body, []byte(`id="`+fragment+`"`)) {
				t.Errorf("%s links to %s, which has no such place", path, m[1])
			}
		}
	}
	for path := range site {
		if !reached[path] {
			t.Errorf("no page leads to %s", path)
		}
	}
}

func TestPagesShowPlaces(t *testing.T) {
	front := string(makeSite(t)["/index.html"].Body)
	for _, want := range []string{
		"http://127.0.0.11:8080/images/moonlight.jpg",
		"dig @127.0.0.1 -p 5353 +short www.demo.freshet.example",
		"bin/freshet purge http://www.demo.freshet.example/note.txt",
	} {
		if !strings.Contains(front, want) {
			t.Errorf("front page lacks %q", want)
		}
	}
}

func TestSite(t *testing.T) {
	var doc struct {
		Site  string
		Hosts []string
	}
	if err := yaml.Unmarshal(Site("www.demo.freshet.example", "127.0.0.11", "*"), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Site != Name || len(doc.Hosts) != 3 || doc.Hosts[2] != "*" {
		t.Errorf("document reads as %+v", doc)
	}
}
