package site

import "testing"

func TestAmbiguousPath(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/", "/a", "/a/b/", "/a.b/..c/.d/...", "/a%20b", "/%C3%BC", "/a%2Bb%3D", "/a;b=c", "/~a-b_c", "/a%25b", "/ü", "/a,b!$&'()*+=:@",
	} {
		if why := AmbiguousPath(path); why != "" {
			t.Errorf("%q %s", path, why)
		}
	}
	for _, path := range []string{
		"//", "//a", "/a//b", "/a//", "/./a", "/../a", "/a/..", "/a/.", "/a/../", "/a/..;/b", "/a/.;x=1/b", "/;a//b", "/;/b",
		"/a%2Fb", "/a%2fb", "/a%5Cb", "/a\\b", "/%2e%2e/a", "/%2E./a", "/a%00", "/a%0Ab", "/a%7F",
		"/%61", "/%41", "/%30", "/%7E", "/%2D", "/%5f", "/a%", "/a%4", "/a%zz", "/a%u0061",
	} {
		if AmbiguousPath(path) == "" {
			t.Errorf("%q passes", path)
		}
	}
}
