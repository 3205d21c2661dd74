package reload_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet/internal/reload"
)

// TestLook proves that a change is read once, that files which belong together may be
// replaced one after the other, and that what stays bad is said once.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	clock := time.Now()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(time.Second) // however coarse the file system's is
		if err := os.Chtimes(name, clock, clock); err != nil {
			t.Fatal(err)
		}
	}
	errTorn := errors.New("they do not match")
	read := func() (string, error) {
		a, _ := reload.PEM(one)
		b, err := reload.PEM(two)
		if err == nil && string(a) != string(b) {
			err = errTorn
		}
		return string(a), err
	}
	write(one, "1")
	if _, _, err := reload.Open(read, one, two); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("without a file: %v", err)
	}
	write(two, "1")
	set, value, err := reload.Open(read, one, two)
	if err != nil || value != "1" {
		t.Fatalf("%q, %v", value, err)
	}
	look := func(step, want string, wantErr error) {
		t.Helper()
		value, changed, err := set.Look()
		if value != want || changed != (want != "") || !errors.Is(err, wantErr) {
			t.Errorf("%s: %q, %v, %v, want %q, %v", step, value, changed, err, want, wantErr)
		}
	}
	look("nothing has changed", "", nil)
	write(one, "2")
	look("the first of two has changed", "", nil)
	write(two, "2")
	look("both have", "2", nil)
	look("that was seen", "", nil)
	write(one, "3")
	look("one alone", "", nil)
	look("it stays alone", "", errTorn)
	look("that was said", "", nil)
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	look("gone as well", "", nil)
	write(one, "2")
	look("as it was", "2", nil)
}
