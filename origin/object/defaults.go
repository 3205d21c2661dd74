package object

import (
	"path"
	"strings"
)

// What is said of an object whose publisher says nothing. Policy: a minute of
// freshness, so that a forgotten purge hurts for a minute; ten minutes in which
// nobody waits for a validation; a day without an origin.
const (
	cacheDefault   = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"
	cacheImmutable = "public, max-age=31536000, immutable"
)

// defaultCacheControl is for objects that were put without a Cache-Control.
func defaultCacheControl(p string) string {
	if fingerprinted(path.Base(p)) {
		return cacheImmutable
	}
	return cacheDefault
}

// fingerprinted reports whether a file name carries a hash of its content, as
// bundlers write it ("app.3f9a1c2b.js", "logo-3f9a1c2b77.svg"), so that other
// content has another name. The rule is narrow, since browsers keep such a file for
// a year and no purge reaches them: only kinds of files that bundlers write, and
// only 8 to 64 hexadecimal digits of which some are letters and some are not (a
// date is no hash, nor is a word).
func fingerprinted(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !bundled[strings.ToLower(name[dot+1:])] {
		return false
	}
	stem := name[:dot]
	hash := stem[strings.LastIndexAny(stem, ".-")+1:]
	if len(hash) == len(stem) || len(hash) < 8 || len(hash) > 64 {
		return false
	}
	var digits, letters int
	for _, c := range []byte(hash) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f':
			letters++
		default:
			return false
		}
	}
	return digits > 0 && letters > 0
}

// bundled are the extensions of what bundlers name by a hash.
var bundled = map[string]bool{
	"avif": true, "css": true, "gif": true, "ico": true, "jpeg": true, "jpg": true, "js": true,
	"map": true, "mjs": true, "otf": true, "png": true, "svg": true, "ttf": true, "wasm": true,
	"webp": true, "woff": true, "woff2": true,
}

// ContentTypeFor is the content type of a path by its extension, or "" if the
// extension says nothing. The table is our own, since that of a machine differs
// from that of the next.
func ContentTypeFor(p string) string {
	ext := path.Ext(p)
	if ext == "" {
		return ""
	}
	return contentTypes[strings.ToLower(ext[1:])]
}

// contentTypes has what the web is made of. Text without a byte order mark is said
// to be UTF-8.
var contentTypes = map[string]string{
	"7z":          "application/x-7z-compressed",
	"aac":         "audio/aac",
	"apk":         "application/vnd.android.package-archive",
	"apng":        "image/apng",
	"atom":        "application/atom+xml",
	"avi":         "video/x-msvideo",
	"avif":        "image/avif",
	"bin":         "application/octet-stream",
	"bmp":         "image/bmp",
	"br":          "application/x-brotli",
	"bz2":         "application/x-bzip2",
	"c":           "text/plain; charset=utf-8",
	"css":         "text/css; charset=utf-8",
	"csv":         "text/csv; charset=utf-8",
	"deb":         "application/vnd.debian.binary-package",
	"dmg":         "application/x-apple-diskimage",
	"doc":         "application/msword",
	"docx":        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"eot":         "application/vnd.ms-fontobject",
	"epub":        "application/epub+zip",
	"exe":         "application/octet-stream",
	"flac":        "audio/flac",
	"geojson":     "application/geo+json",
	"gif":         "image/gif",
	"glb":         "model/gltf-binary",
	"gltf":        "model/gltf+json",
	"go":          "text/plain; charset=utf-8",
	"gz":          "application/gzip",
	"h":           "text/plain; charset=utf-8",
	"htm":         "text/html; charset=utf-8",
	"html":        "text/html; charset=utf-8",
	"ico":         "image/x-icon",
	"ics":         "text/calendar; charset=utf-8",
	"iso":         "application/octet-stream",
	"jar":         "application/java-archive",
	"jpeg":        "image/jpeg",
	"jpg":         "image/jpeg",
	"js":          "text/javascript; charset=utf-8",
	"json":        "application/json",
	"jsonld":      "application/ld+json",
	"jxl":         "image/jxl",
	"log":         "text/plain; charset=utf-8",
	"m3u8":        "application/vnd.apple.mpegurl",
	"m4a":         "audio/mp4",
	"m4s":         "video/iso.segment",
	"m4v":         "video/mp4",
	"map":         "application/json",
	"md":          "text/markdown; charset=utf-8",
	"mjs":         "text/javascript; charset=utf-8",
	"mkv":         "video/x-matroska",
	"mov":         "video/quicktime",
	"mp3":         "audio/mpeg",
	"mp4":         "video/mp4",
	"mpd":         "application/dash+xml",
	"mpeg":        "video/mpeg",
	"msi":         "application/octet-stream",
	"oga":         "audio/ogg",
	"ogg":         "audio/ogg",
	"ogv":         "video/ogg",
	"opus":        "audio/ogg",
	"otf":         "font/otf",
	"pdf":         "application/pdf",
	"png":         "image/png",
	"ppt":         "application/vnd.ms-powerpoint",
	"pptx":        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"rar":         "application/vnd.rar",
	"rpm":         "application/x-rpm",
	"rss":         "application/rss+xml",
	"rtf":         "application/rtf",
	"sh":          "text/x-shellscript; charset=utf-8",
	"svg":         "image/svg+xml",
	"tar":         "application/x-tar",
	"tgz":         "application/gzip",
	"tif":         "image/tiff",
	"tiff":        "image/tiff",
	"ts":          "video/mp2t",
	"ttf":         "font/ttf",
	"txt":         "text/plain; charset=utf-8",
	"vtt":         "text/vtt; charset=utf-8",
	"wasm":        "application/wasm",
	"wav":         "audio/wav",
	"weba":        "audio/webm",
	"webm":        "video/webm",
	"webmanifest": "application/manifest+json",
	"webp":        "image/webp",
	"woff":        "font/woff",
	"woff2":       "font/woff2",
	"xhtml":       "application/xhtml+xml",
	"xls":         "application/vnd.ms-excel",
	"xlsx":        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"xml":         "application/xml",
	"xz":          "application/x-xz",
	"yaml":        "application/yaml",
	"yml":         "application/yaml",
	"zip":         "application/zip",
	"zst":         "application/zstd",
}
