package distributor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet/distributor/client"
)

// raw sends a request without the client.
func (r *running) raw(t *testing.T, method, path, token string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.client.URL()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestWhoMayAsk(t *testing.T) {
	d := newWorld(t).start("d1")
	tests := []struct {
		name, method, path, token string
		status                    int
	}{
		{"description", "GET", "/openapi.json", "", 200},
		{"liveness", "GET", "/v1/live", "", 200},
		{"no token", "GET", "/v1/status", "", 401},
		{"wrong token", "GET", "/v1/nodes", "another-token-altogether", 401},
		{"no token, no such path", "GET", "/v1/nosuch", "", 401},
		{"no token, write", "POST", "/v1/commands", "", 401},
		{"description in YAML", "GET", "/openapi.yaml", "", 401},
		{"token", "GET", "/v1/status", token, 200},
		{"no such path", "GET", "/v1/nosuch", token, 404},
		{"root", "GET", "/", token, 404},
		{"no such method", "PUT", "/v1/sites", token, 405},
		{"unknown parameter", "GET", "/v1/sites/demo?vesrion=1", token, 422},
		{"no token, secrets", "GET", "/v1/secrets", "", 401},
		{"no token, a secret", "PUT", "/v1/secrets/a", "", 401},
		{"no body", "POST", "/v1/commands", token, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp, body := d.raw(t, test.method, test.path, test.token, nil)
			if resp.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, test.status, body)
			}
			if test.status >= 400 {
				var problem client.Error
				if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
					t.Errorf("an error as %s", ct)
				}
				if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Status != test.status || problem.Detail == "" {
					t.Errorf("problem %+v, %v", problem, err)
				}
			}
			if test.status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestDescription(t *testing.T) {
	d := newWorld(t).start("d1")
	_, body := d.raw(t, "GET", "/openapi.json", "", nil)
	var doc struct {
		OpenAPI string                            `json:"openapi"`
		Paths   map[string]map[string]interface{} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	for _, want := range []string{"get /v1/live", "get /v1/status", "get /v1/nodes", "post /v1/commands", "get /v1/sites", "post /v1/sites", "get /v1/sites/{name}", "delete /v1/sites/{name}", "get /v1/sites/{name}/history", "get /v1/secrets", "put /v1/secrets/{name}", "delete /v1/secrets/{name}"} {
		method, path, _ := strings.Cut(want, " ")
		if doc.Paths[path][method] == nil {
			t.Errorf("%s is not described", want)
		}
	}
}

func TestConditions(t *testing.T) {
	d := newWorld(t).start("d1")
	tests := []struct {
		name   string
		header []string
		status int
	}{
		{"no version", []string{"If-Match", "*"}, 422},
		{"no quotes", []string{"If-Match", "1"}, 422},
		{"weak", []string{"If-Match", `W/"1"`}, 422},
		{"negative", []string{"If-Match", `"-1"`}, 422},
		{"both", []string{"If-Match", `"1"`, "If-None-Match", "*"}, 422},
		{"none of a version", []string{"If-None-Match", `"1"`}, 422},
		{"absent", []string{"If-None-Match", "*"}, 200},
		{"the version", []string{"If-Match", `"1"`}, 200},
		{"an older version", []string{"If-Match", `"1"`}, 412},
	}
	for _, test := range tests {
		header := append([]string{"Content-Type", "application/yaml"}, test.header...)
		resp, body := d.raw(t, "POST", "/v1/sites", token, strings.NewReader(demoSite), header...)
		if resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.name, resp.StatusCode, test.status, body)
		}
	}
	if resp, _ := d.raw(t, "GET", "/v1/sites/demo", token, nil); resp.Header.Get("ETag") != `"2"` {
		t.Errorf("ETag %s", resp.Header.Get("ETag"))
	}
}

func TestBodiesAreBounded(t *testing.T) {
	d := newWorld(t).start("d1")
	for _, length := range []int{maxBody, maxBody + 1} {
		body := append([]byte(`{"kind":"purge","sites":["`), bytes.Repeat([]byte("x"), length)...)[:length]
		resp, text := d.raw(t, "POST", "/v1/commands", token, bytes.NewReader(body), "Content-Type", "application/json")
		want := http.StatusBadRequest // the JSON is cut
		if length > maxBody {
			want = http.StatusRequestEntityTooLarge
		}
		if resp.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d: %s", length, resp.StatusCode, want, text)
		}
	}
}

// A body that does not come ends the request; one that came leaves no deadline behind
// that would end a long wait.
func TestBodiesHaveTime(t *testing.T) {
	const timeout = 50 * time.Millisecond
	srv := httptest.NewServer(bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			t.Error("the body's deadline ended the request")
		case <-time.After(3 * timeout):
		}
		fmt.Fprint(w, "done")
	}), timeout))
	defer srv.Close()
	for body, want := range map[string]string{"12345": "200 OK", "1234": "408 Request Timeout"} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n%s", body)
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+want) {
			t.Errorf("%q: %q, %v", body, answer, err)
		}
	}
}
