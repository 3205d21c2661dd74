package publish

import "freshet/origin/blob"

// Outcome is the fate of one file.
type Outcome string

// The outcomes. In a dry run they say what would be.
const (
	Created   Outcome = "created"   // there was nothing under the path
	Replaced  Outcome = "replaced"  // there was something else
	Unchanged Outcome = "unchanged" // it was there already
	Failed    Outcome = "failed"    // Result.Error says why
	Skipped   Outcome = "skipped"   // the push ended before its turn came
)

// Result is what became of one file.
type Result struct {
	Path    string      `json:"path"`
	Size    int64       `json:"size"`
	Digest  blob.Digest `json:"digest,omitzero"` // zero if it could not be read
	Outcome Outcome     `json:"outcome"`
	Error   string      `json:"error,omitempty"`
}

// Report is what became of a push.
type Report struct {
	Site   string   `json:"site"`
	DryRun bool     `json:"dry_run,omitempty"`
	Files  []Result `json:"files"` // every file of the source, sorted by path
}

// Count is how many files had the outcome.
func (r *Report) Count(o Outcome) (n int) {
	for _, f := range r.Files {
		if f.Outcome == o {
			n++
		}
	}
	return n
}

// Changed are the paths whose content is another than before: those for which caches
// may hold what is no longer true, the absence of a created object too.
func (r *Report) Changed() []string {
	var paths []string
	for _, f := range r.Files {
		if f.Outcome == Created || f.Outcome == Replaced {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// Progress is how far a push has come.
type Progress struct {
	Files, Bytes         int64   // of the whole source
	FilesDone, BytesDone int64   // settled so far, whatever the outcome; bytes under way count
	Last                 *Result // the file that has just been settled; nil while bytes flow
}
