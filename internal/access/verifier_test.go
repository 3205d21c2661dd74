package access

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const right = "0123456789abcdef-right"

func TestNewVerifierRefuses(t *testing.T) {
	for name, token := range map[string]string{
		"empty":    "",
		"short":    strings.Repeat("x", MinToken-1),
		"long":     strings.Repeat("x", MaxToken+1),
		"space":    "0123456789 abcdef",
		"control":  "0123456789abcdef\n",
		"not text": "0123456789abcdef\xff",
	} {
		t.Run(name, func(t *testing.T) {
			v, err := NewVerifier(token)
			if !errors.Is(err, ErrToken) || v != nil {
				t.Fatalf("got %v, %v; want ErrToken", v, err)
			}
			if token != "" && strings.Contains(err.Error(), token) {
				t.Fatalf("the error shows the token: %v", err)
			}
		})
	}
	for _, n := range []int{MinToken, MaxToken} {
		if _, err := NewVerifier(strings.Repeat("x", n)); err != nil {
			t.Errorf("a token of %d characters: %v", n, err)
		}
	}
}

func TestRequire(t *testing.T) {
	v, err := NewVerifier(right)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "in")
	})))
	defer srv.Close()

	const missing, invalid = `Bearer realm="freshet"`, `Bearer realm="freshet", error="invalid_token"`
	tests := []struct {
		name      string
		fields    []string
		status    int
		challenge string
	}{
		{"right", []string{"Bearer " + right}, 200, ""},
		{"scheme in lower case", []string{"bearer " + right}, 200, ""},
		{"none", nil, 401, missing},
		{"empty", []string{""}, 401, missing},
		{"no token", []string{"Bearer"}, 401, missing},
		{"blank token", []string{"Bearer   "}, 401, missing},
		{"other scheme", []string{"Basic " + right}, 401, missing},
		{"token alone", []string{right}, 401, missing},
		{"two fields", []string{"Bearer " + right, "Bearer " + right}, 401, missing},
		{"wrong", []string{"Bearer " + right + "x"}, 401, invalid},
		{"prefix", []string{"Bearer " + right[:len(right)-1]}, 401, invalid},
		{"other case", []string{"Bearer " + strings.ToUpper(right)}, 401, invalid},
		{"huge", []string{"Bearer " + strings.Repeat("x", 100_000)}, 401, invalid},
		{"two tokens", []string{"Bearer " + right + " " + right}, 401, invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest("PUT", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Authorization"] = tt.fields
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != tt.challenge {
				t.Fatalf("challenge %q, want %q", got, tt.challenge)
			}
			if tt.status == 200 {
				return
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
			var problem struct {
				Status int
				Title  string
				Detail string
			}
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
				t.Fatal(err)
			}
			if problem.Status != 401 || problem.Title == "" || problem.Detail == "" {
				t.Errorf("problem %+v", problem)
			}
		})
	}
}

func TestVerifierKeepsNoToken(t *testing.T) {
	v, err := NewVerifier(right)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(v.hash[:]), right[:8]) {
		t.Fatal("the verifier holds the token in the clear")
	}
	if !v.Verify(right) || v.Verify("") || v.Verify(strings.Repeat("x", MaxToken+1)) {
		t.Fatal("Verify is wrong")
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer " + right)
	f.Add("bearer  x ")
	f.Add("Basic x")
	v, err := NewVerifier(right)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, field string) {
		token, ok := bearer(http.Header{"Authorization": {field}})
		if ok && token == "" {
			t.Fatal("an empty token was accepted")
		}
		if ok && v.Verify(token) != (token == right) {
			t.Fatalf("token %q", token)
		}
	})
}
