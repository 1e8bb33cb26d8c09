// A client of C2SP tlog-tiles that trusts nothing but a verifier key: golang.org/x/mod/sumdb/note and tlog do the judging.
//
// tiles VKEY PREFIX [-held CHECKPOINT] [-cert FILE -key FILE -ca FILE]
//
// PREFIX is a folder or an address. It reads the checkpoint, verifies it, has every tile verified against its root, reads
// every bundle and compares each entry with the tile. With -held, the log must extend that checkpoint. It prints
// `ok SIZE`, or `refused: WHY` and exits 1. A list of folders on stdin, each with its own vkey and perhaps held, is judged
// one by one when PREFIX is `-`.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) > 2 && os.Args[2] == "-" {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			folder := lines.Text()
			vkey, err := os.ReadFile(filepath.Join(folder, "vkey"))
			if err != nil {
				fail(err)
			}
			held, _ := os.ReadFile(filepath.Join(folder, "held"))
			size, err := judge(string(vkey), reader{prefix: folder}, held)
			fmt.Println(filepath.Base(folder), verdict(size, err))
		}
		return
	}
	options := map[string]string{}
	for at := 3; at+1 < len(os.Args); at += 2 {
		options[os.Args[at]] = os.Args[at+1]
	}
	vkey, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var held []byte
	if path := options["-held"]; path != "" {
		if held, err = os.ReadFile(path); err != nil {
			fail(err)
		}
	}
	r := reader{prefix: strings.TrimSuffix(os.Args[2], "/")}
	if strings.HasPrefix(r.prefix, "http") {
		r.client = client(options)
	}
	size, err := judge(string(vkey), r, held)
	fmt.Println(verdict(size, err))
	if err != nil {
		os.Exit(1)
	}
}

func verdict(size int64, err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	return fmt.Sprint("ok ", size)
}

func judge(vkey string, r reader, held []byte) (int64, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return 0, err
	}
	text, err := r.read("checkpoint", "text/plain; charset=utf-8")
	if err != nil {
		return 0, err
	}
	tree, err := open(text, verifier)
	if err != nil {
		return 0, err
	}
	tiled := tlog.TileHashReader(tree, r)
	if tree.N > 0 {
		root, err := tlog.TreeHash(tree.N, tiled)
		if err != nil {
			return 0, err
		}
		if root != tree.Hash {
			return 0, errors.New("the tiles do not lead to the root")
		}
	}
	for first := int64(0); first < tree.N; first += 256 {
		width := tree.N - first
		if width > 256 {
			width = 256
		}
		bundle, err := r.read("tile/entries/"+place(first/256, width), "application/octet-stream")
		if err != nil {
			return 0, err
		}
		var indexes []int64
		for index := first; index < first+width; index++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, index))
		}
		hashes, err := tiled.ReadHashes(indexes)
		if err != nil {
			return 0, err
		}
		for at, hash := range hashes {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return 0, fmt.Errorf("entry %d is not there", first+int64(at))
			}
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:length]) != hash {
				return 0, fmt.Errorf("entry %d is another", first+int64(at))
			}
			bundle = bundle[length:]
		}
		if len(bundle) > 0 {
			return 0, fmt.Errorf("the bundle of entry %d holds more", first)
		}
	}
	if held == nil {
		return tree.N, nil
	}
	before, err := open(held, verifier)
	if err != nil {
		return 0, err
	}
	if before.N > tree.N {
		return 0, errors.New("shorter than what is held")
	}
	if before.N == 0 {
		return tree.N, nil
	}
	proof, err := tlog.ProveTree(tree.N, before.N, tiled)
	if err != nil {
		return 0, err
	}
	return tree.N, tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash)
}

func open(text []byte, verifier note.Verifier) (tree tlog.Tree, err error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, errors.New("not a checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(tree.Hash[:], root) != len(tree.Hash) {
		return tree, errors.New("not a root")
	}
	return tree, nil
}

// reader reads files of a log, as a tlog.TileReader as well: tlog itself would put the height into the path.
type reader struct {
	prefix string
	client *http.Client
}

func (r reader) Height() int { return 8 }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := "tile/" + strconv.Itoa(tile.L) + "/" + place(tile.N, int64(tile.W))
		bytes, err := r.read(path, "application/octet-stream")
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) read(path, kind string) ([]byte, error) {
	if r.client == nil {
		return os.ReadFile(filepath.Join(r.prefix, path))
	}
	response, err := r.client.Get(r.prefix + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	if got := response.Header.Get("Content-Type"); r.strict() && got != kind {
		return nil, fmt.Errorf("%s: the type is %s", path, got)
	}
	return io.ReadAll(response.Body)
}

// strict: a web server that knows nothing of logs may call the files what it likes.
func (r reader) strict() bool { return strings.HasPrefix(r.prefix, "https://") }

func client(options map[string]string) *http.Client {
	config := &tls.Config{}
	if options["-cert"] != "" {
		pair, err := tls.LoadX509KeyPair(options["-cert"], options["-key"])
		if err != nil {
			fail(err)
		}
		pem, err := os.ReadFile(options["-ca"])
		if err != nil {
			fail(err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
		config.Certificates = []tls.Certificate{pair}
	}
	// The port answers nobody who names no protocol (ALPN).
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

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

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
