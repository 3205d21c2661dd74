package traces

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

func readFile(t *testing.T, name, format string) []Request {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, err := Read(f, format)
	if err != nil {
		t.Fatal(err)
	}
	all, err := All(src, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The formats are read as their simulators write them.
func TestFormats(t *testing.T) {
	logo := xxh3.HashString("/images/logo.png")
	for _, c := range []struct {
		file, format string
		want         []Request
	}{
		{"blocks.csv", "csv", []Request{{100, 4096, 512}, {100, 8192, 6656}, {101, 4096, 512}}},
		{"plain.tsv", "csv", []Request{{1, 17, 1000}, {2, 18, 0}, {3, 17, 1000}}},
		{"ids.txt", "txt", []Request{{1, 17, 1}, {2, 18, 1}, {4, logo, 1}, {5, 17, 1}}},
		{"short.lrb", "lrb", []Request{{1, 1, 120}, {2, 2, 64}, {3, 1, 120}}},
	} {
		if got := readFile(t, c.file, c.format); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.file, got, c.want)
		}
	}
}

// What is wrong with a trace is said with the number of the line.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, format, text, want string }{
		{"few fields", "csv", "1,2,3\n1,2\n", "line 2: 2 fields"},
		{"size", "csv", "1,2,x\n", `line 1: size: "x"`},
		{"negative size", "lrb", "1 2 3\n\n1 2 -3\n", `line 3: size: "-3"`},
		{"huge size", "lrb", "1 2 9999999999999\n", "line 1: size"},
		{"time", "lrb", "a 2 3\n", "line 1: time"},
		{"time beyond", "lrb", "1e300 2 3\n", "line 1: time"},
		{"no columns", "csv", "when,what\n1,2\n", "line 1: no columns"},
		{"long line", "txt", "1\n" + strings.Repeat("2", maxLine+1) + "\n", "line 2: longer than"},
		{"no id", "csv", "1,,3\n", "line 1: id: empty"},
		{"format", "bin", "", `format "bin"`},
	} {
		src, err := Read(strings.NewReader(c.text), c.format)
		for err == nil {
			_, err = src.Next()
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A longest line still passes; one without an end is a line.
func TestLastLine(t *testing.T) {
	src := Text(strings.NewReader(strings.Repeat("x", maxLine) + "\r\n5"))
	all, err := All(src, 2)
	if err != nil || len(all) != 2 || all[1].ID != 5 {
		t.Errorf("%v, %v", all, err)
	}
}

// What is written is read back.
func TestWriteRead(t *testing.T) {
	for _, format := range []string{"csv", "lrb", "txt"} {
		src, err := Generate("scan", Scale{Objects: 100, Requests: 1000, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		want, err := All(src, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		i := 0
		if err := Write(&b, sourceFunc(func() (Request, error) {
			if i == len(want) {
				return Request{}, io.EOF
			}
			i++
			return want[i-1], nil
		}), format); err != nil {
			t.Fatal(err)
		}
		read, err := Read(&b, format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := All(read, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			w := want[i]
			if format == "txt" {
				w.Time, w.Size = int64(i+1), 1
			}
			if got[i] != w {
				t.Fatalf("%s: request %d is %v, was %v", format, i, got[i], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d requests of %d", format, len(got), len(want))
		}
	}
}

// A generated trace is the same for the same seed, another for another, and an object
// has one size.
func TestGenerators(t *testing.T) {
	for _, w := range Workloads {
		generate := func(seed uint64) []Request {
			src, err := Generate(w.Name, Scale{Objects: 5000, Requests: 30_000, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			all, err := All(src, 30_000)
			if err != nil || len(all) != 30_000 {
				t.Fatal(len(all), err)
			}
			return all
		}
		one := generate(1)
		if !slices.Equal(one, generate(1)) {
			t.Errorf("%s: two traces of one seed differ", w.Name)
		}
		if slices.Equal(one, generate(2)) {
			t.Errorf("%s: traces of two seeds are the same", w.Name)
		}
		sizes := map[uint64]int64{}
		for _, r := range one {
			if was, ok := sizes[r.ID]; ok && was != r.Size || r.Size < 1 {
				t.Fatalf("%s: object %d has %d bytes and %d", w.Name, r.ID, was, r.Size)
			}
			sizes[r.ID] = r.Size
		}
		if _, err := Generate(w.Name, Scale{}); err == nil {
			t.Errorf("%s without objects is no error", w.Name)
		}
	}
	if _, err := Generate("none", Scale{Objects: 1}); err == nil {
		t.Error("an unknown workload is no error")
	}
}

// The share of each rank is Zipf's.
func TestZipf(t *testing.T) {
	src, err := Generate("zipf-0.9", Scale{Objects: 1000, Requests: 1_000_000, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	count := map[uint64]int{}
	for {
		r, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		count[r.ID]++
	}
	sum := 0.0
	for r := range 1000 {
		sum += math.Pow(float64(r+1), -0.9)
	}
	for _, rank := range []uint64{0, 1, 9, 99, 500} {
		want := 1e6 * math.Pow(float64(rank+1), -0.9) / sum
		if got := float64(count[mix(rank)]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("rank %d was asked for %.0f times, want %.0f", rank, got, want)
		}
	}
}

// A content is asked for in pieces that make it up, each with an ID of its own.
func TestCut(t *testing.T) {
	i := 0
	given := []Request{{1, 7, 250}, {2, 8, 100}, {3, 9, 0}, {4, 7, 250}}
	all, err := All(Cut(sourceFunc(func() (Request, error) {
		if i == len(given) {
			return Request{}, io.EOF
		}
		i++
		return given[i-1], nil
	}), 100), 100)
	if err != nil || len(all) != 8 {
		t.Fatal(all, err)
	}
	if all[0] != (Request{1, 7, 100}) || all[2].Size != 50 || all[3] != given[1] || all[4] != given[2] {
		t.Error(all)
	}
	if !slices.Equal(all[:3], func() []Request { // the second time the pieces have the same IDs
		again := slices.Clone(all[5:])
		for i := range again {
			again[i].Time = 1
		}
		return again
	}()) || all[1].ID == all[2].ID || all[1].ID == all[0].ID {
		t.Error(all)
	}
	if _, err := All(Limit(Cut(sourceFunc(func() (Request, error) { return Request{Size: 1}, nil }), 100), 11), 10); err == nil {
		t.Error("a trace above the limit is no error")
	}
}

// No text makes a reader panic, hang or give what is out of bounds.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"blocks.csv", "plain.tsv", "ids.txt", "short.lrb"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		for format := range uint8(3) {
			f.Add(b, format)
		}
	}
	f.Add([]byte("a:b\n:\n"), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, format uint8) {
		src, err := Read(bytes.NewReader(text), []string{"csv", "txt", "lrb"}[format%3])
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			r, err := src.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !strings.HasPrefix(err.Error(), "trace: line ") {
					t.Errorf("an error without a line: %v", err)
				}
				return
			}
			if r.Size < 0 || r.Size > MaxObject {
				t.Fatalf("size %d", r.Size)
			}
			if n > len(text) {
				t.Fatal("more requests than bytes")
			}
		}
	})
}
