// Judges a log directory with golang.org/x/mod/sumdb, the code behind Go's checksum database.
//
// The directory holds vkey, checkpoint and tile/.. as docs/spec/audit.md says; old/SIZE, earlier checkpoints;
// consistency/SIZE, the consistency proof from each of those to checkpoint, a hash a line, or no folder consistency, and
// then the proof is made from the tiles alone; proof/INDEX, a tlog-proof for each entry. Everything is checked, and
// everything once more with one bit changed, which must fail.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	dir := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(dir, "vkey"))))
	check(err)
	verifiers := note.VerifierList(verifier)
	tree := open(read(dir, "checkpoint"), verifiers, verifier.Name())

	leaves := entries(dir, tree.N)
	hashes := rebuild(leaves)
	root, err := tlog.TreeHash(tree.N, hashes)
	check(err)
	demand(root == tree.Hash, "the entries do not lead to the root of the checkpoint")

	// The tiles, each verified against the root by the reader.
	tiled := tlog.TileHashReader(tree, &disk{dir})
	proofs := 0
	for index := int64(0); index < tree.N; index++ {
		leaf := tlog.RecordHash(leaves[index])
		theirs, err := tlog.ProveRecord(tree.N, index, tiled)
		check(err)
		ours, inside := parseProof(read(dir, "proof", strconv.FormatInt(index, 10)), index)
		demand(open(inside, verifiers, verifier.Name()) == tree, "the proof is for another tree")
		demand(equal(theirs, ours), "the inclusion proof differs")
		check(tlog.CheckRecord(ours, tree.N, tree.Hash, index, leaf))
		leaf[index%32] ^= 1
		demand(tlog.CheckRecord(ours, tree.N, tree.Hash, index, leaf) != nil, "a proof holds for another entry")
		proofs++
	}

	olds, err := os.ReadDir(filepath.Join(dir, "old"))
	check(err)
	_, without := os.Stat(filepath.Join(dir, "consistency"))
	for _, old := range olds {
		before := open(read(dir, "old", old.Name()), verifiers, verifier.Name())
		theirs, err := tlog.ProveTree(tree.N, before.N, tiled)
		check(err)
		ours := theirs
		if without == nil {
			ours = parseHashes(string(read(dir, "consistency", old.Name())))
		}
		demand(equal(theirs, ours), "the consistency proof differs")
		check(tlog.CheckTree(ours, tree.N, tree.Hash, before.N, before.Hash))
		before.Hash[0] ^= 1
		demand(tlog.CheckTree(ours, tree.N, tree.Hash, before.N, before.Hash) != nil, "a proof holds for another past")
	}
	fmt.Printf("entries %d proofs %d consistency %d\n", len(leaves), proofs, len(olds))
}

// open verifies a checkpoint and reads its first three lines.
func open(text []byte, verifiers note.Verifiers, origin string) tlog.Tree {
	opened, err := note.Open(text, verifiers)
	check(err)
	bent := bytes.Replace(text, []byte("\n"), []byte(" \n"), 1)
	_, err = note.Open(bent, verifiers)
	demand(err != nil, "a signature holds for another text")
	lines := strings.Split(opened.Text, "\n")
	demand(len(lines) == 5 && lines[0] == origin && strings.HasPrefix(lines[3], "time "), "not our checkpoint")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	return tlog.Tree{N: size, Hash: parseHashes(lines[2])[0]}
}

// entries reads the entry bundles.
func entries(dir string, size int64) [][]byte {
	var leaves [][]byte
	for index := int64(0); index*256 < size; index++ {
		bundle := read(dir, "tile/entries", place(index, min(256, size-index*256)))
		for len(bundle) > 0 {
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			leaves = append(leaves, bundle[2:length])
			bundle = bundle[length:]
		}
	}
	demand(int64(len(leaves)) == size, "not as many entries as the checkpoint says")
	return leaves
}

// rebuild computes the tree from the entries alone.
func rebuild(leaves [][]byte) tlog.HashReader {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for index, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(index), leaf, reader)
		check(err)
		stored = append(stored, hashes...)
	}
	return reader
}

// disk reads tiles from where C2SP puts them; tlog itself would put the height into the path.
type disk struct{ dir string }

func (d *disk) Height() int { return height }

func (d *disk) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		data = append(data, read(d.dir, "tile", strconv.Itoa(tile.L), place(tile.N, int64(tile.W))))
	}
	return data, nil
}

func (d *disk) SaveTiles([]tlog.Tile, [][]byte) {}

func place(index, width int64) string {
	path := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		path = fmt.Sprintf("x%03d/%s", index%1000, path)
	}
	if width < 256 {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	return path
}

func parseProof(text []byte, index int64) ([]tlog.Hash, []byte) {
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.SplitN(head, "\n", 4)
	demand(found && lines[0] == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
	demand(strings.HasPrefix(lines[1], "extra "), "a proof without its entry")
	demand(lines[2] == fmt.Sprintf("index %d", index), "a proof for another index")
	if len(lines) < 4 {
		return nil, []byte(checkpoint)
	}
	return parseHashes(lines[3]), []byte(checkpoint)
}

func parseHashes(lines string) []tlog.Hash {
	var hashes []tlog.Hash
	for _, line := range strings.Fields(lines) {
		bytes, err := base64.StdEncoding.DecodeString(line)
		check(err)
		var hash tlog.Hash
		demand(copy(hash[:], bytes) == len(hash), "not a hash")
		hashes = append(hashes, hash)
	}
	return hashes
}

func equal(a, b []tlog.Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func read(parts ...string) []byte {
	bytes, err := os.ReadFile(filepath.Join(parts...))
	check(err)
	return bytes
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func check(err error) {
	if err != nil {
		demand(false, err.Error())
	}
}

func demand(holds bool, otherwise string) {
	if !holds {
		fmt.Fprintln(os.Stderr, otherwise)
		os.Exit(1)
	}
}
