package node

import "path/filepath"

// keptDir is where, in a directory of the node, that lies which it has last known of its
// cluster.
const keptDir = "cluster-last"

// Kept is the directory for what this node has last known of its cluster, and how many
// bytes that may take there: within data, else within the first disk, as a part of its
// size. It is "" for a node that keeps nothing, because it has nowhere to or no cluster
// beyond its process.
func (f *File) Kept() (dir string, bytes int64) {
	switch {
	case f.Alone() || f.Cluster.Kind != "consul":
		return "", 0
	case f.Data != "":
		return filepath.Join(f.Data, keptDir), 0
	case len(f.Cache.Disk) > 0:
		const least, most = 256 << 10, 256 << 20
		d := f.Cache.Disk[0]
		return filepath.Join(d.Dir, keptDir), min(max(int64(d.Size)/64, least), most)
	}
	return "", 0
}
