// A witness and a log that are not ours, written from the text of C2SP tlog-witness on golang.org/x/mod/sumdb, which
// parses notes and checks proofs.
//
//	witness.go serve LOG_VKEY MODE    a witness; prints its URL and verifier key, then runs until its input ends
//	witness.go ask URL WITNESS_VKEY   a log of its own, which is named on a line of input; prints what was answered
//	witness.go check LOG_VKEY WITNESS_VKEY FILE   whether the checkpoint is signed and cosigned by both
//
// Modes: honest, slow (never answers), forger (signs with another key), denier (says 422), boaster (names a larger size),
// future (a time in the next century).
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2], os.Args[3])
	case "ask":
		err = ask(os.Args[2], os.Args[3])
	case "check":
		err = check(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cosigner is a verifier of cosignatures of type 0x04 for package note.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

func parseCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("not the verifier key of a witness")
	}
	hash := keyHash(parts[0], key)
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("the id is not that of the key")
	}
	return &cosigner{parts[0], hash, ed25519.PublicKey(key[1:])}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return at > 0 && ed25519.Verify(c.key, cosigned(msg, at), sig[8:])
}

func cosigned(msg []byte, at uint64) []byte {
	return append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", at)), msg...)
}

func check(logKey, witnessKey, file string) error {
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	witness, err := parseCosigner(witnessKey)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(log, witness))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 {
		return fmt.Errorf("%d known signatures", len(opened.Sigs))
	}
	tree, err := parseTree(opened.Text)
	if err != nil {
		return err
	}
	fmt.Printf("cosigned %d\n", tree.N)
	return nil
}

func parseTree(text string) (tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return tlog.Tree{}, errors.New("no checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != tlog.HashSize {
		return tlog.Tree{}, errors.New("no root")
	}
	var tree tlog.Tree
	tree.N = size
	copy(tree.Hash[:], hash)
	return tree, nil
}

// witness is the state of the one who serves.
type witness struct {
	sync.Mutex
	mode   string
	log    note.Verifier
	name   string
	public ed25519.PublicKey
	secret ed25519.PrivateKey
	held   tlog.Tree
	note   []byte
}

func serve(logKey, mode string) error {
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	w := &witness{mode: mode, log: log, name: "foreign.example/" + mode, public: public, secret: secret}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/w1/add-checkpoint", w.add)
	origin := sha256.Sum256([]byte(log.Name()))
	http.HandleFunc(fmt.Sprintf("/w1/%x/checkpoint", origin), w.newest)
	key := append([]byte{4}, public...)
	fmt.Printf("http://%s/w1 %s+%08x+%s\n", listener.Addr(), w.name, keyHash(w.name, key),
		base64.StdEncoding.EncodeToString(key))
	go http.Serve(listener, nil)
	io.Copy(io.Discard, os.Stdin)
	return nil
}

func (w *witness) newest(out http.ResponseWriter, _ *http.Request) {
	w.Lock()
	defer w.Unlock()
	if w.note == nil {
		out.WriteHeader(404)
		return
	}
	out.Write(w.note)
}

func (w *witness) add(out http.ResponseWriter, in *http.Request) {
	if w.mode == "slow" {
		<-in.Context().Done()
		return
	}
	w.Lock()
	defer w.Unlock()
	body, _ := io.ReadAll(in.Body)
	status, answer := w.judge(body)
	switch {
	case w.mode == "denier":
		status, answer = 422, ""
	case w.mode == "boaster":
		status, answer = 409, "1000000\n"
	}
	if status == 409 {
		out.Header().Set("Content-Type", "text/x.tlog.size")
	}
	out.WriteHeader(status)
	io.WriteString(out, answer)
}

func (w *witness) judge(body []byte) (int, string) {
	old, proof, text, err := parseRequest(body)
	if err != nil {
		return 400, err.Error()
	}
	opened, err := note.Open(text, note.VerifierList(w.log))
	if err != nil {
		return 403, err.Error()
	}
	tree, err := parseTree(opened.Text)
	if err != nil || old > tree.N {
		return 400, "no checkpoint"
	}
	if old != w.held.N {
		return 409, fmt.Sprintf("%d\n", w.held.N)
	}
	switch {
	case old == tree.N:
		if len(proof) > 0 || (old > 0 && tree.Hash != w.held.Hash) {
			return 422, "another tree"
		}
	case old == 0:
		if len(proof) > 0 {
			return 422, "a proof from nothing"
		}
	default:
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, w.held.Hash); err != nil {
			return 422, err.Error()
		}
	}
	w.held = tree
	at := uint64(time.Now().Unix())
	if w.mode == "future" {
		at += 3_200_000_000
	}
	secret := w.secret
	if w.mode == "forger" {
		_, secret, _ = ed25519.GenerateKey(rand.Reader)
	}
	line := signatureLine(w.name, w.public, secret, []byte(opened.Text), at)
	w.note = append(text, line...)
	return 200, line
}

func signatureLine(name string, public ed25519.PublicKey, secret ed25519.PrivateKey, text []byte, at uint64) string {
	var id [4]byte
	binary.BigEndian.PutUint32(id[:], keyHash(name, append([]byte{4}, public...)))
	var seconds [8]byte
	binary.BigEndian.PutUint64(seconds[:], at)
	signed := append(append(id[:], seconds[:]...), ed25519.Sign(secret, cosigned(text, at))...)
	return fmt.Sprintf("\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(signed))
}

func parseRequest(body []byte) (int64, tlog.TreeProof, []byte, error) {
	head, text, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return 0, nil, nil, errors.New("no empty line")
	}
	lines := strings.Split(string(head), "\n")
	if !strings.HasPrefix(lines[0], "old ") || len(lines) > 64 {
		return 0, nil, nil, errors.New("no old size")
	}
	old, err := strconv.ParseInt(lines[0][4:], 10, 64)
	if err != nil {
		return 0, nil, nil, err
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return 0, nil, nil, err
		}
		proof = append(proof, hash)
	}
	return old, proof, text, nil
}

// log is a log in memory.
type log struct {
	hashes []tlog.Hash
	size   int64
	signer note.Signer
}

func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, index := range indexes {
		out = append(out, l.hashes[index])
	}
	return out, nil
}

func (l *log) grow(to int64, salt string) {
	for ; l.size < to; l.size++ {
		hashes, _ := tlog.StoredHashes(l.size, []byte(fmt.Sprintf("%s %d", salt, l.size)), l)
		l.hashes = append(l.hashes, hashes...)
	}
}

func (l *log) checkpoint(extension string) ([]byte, tlog.Tree) {
	root, _ := tlog.TreeHash(l.size, l)
	text := fmt.Sprintf("%s\n%d\n%s\n%s", l.signer.Name(), l.size, root, extension)
	signed, _ := note.Sign(&note.Note{Text: text}, l.signer)
	return signed, tlog.Tree{N: l.size, Hash: root}
}

func (l *log) request(old int64, extension string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "old %d\n", old)
	if old > 0 && old < l.size {
		proof, err := tlog.ProveTree(l.size, old, l)
		if err != nil {
			panic(err)
		}
		for _, hash := range proof {
			fmt.Fprintf(&out, "%s\n", hash)
		}
	}
	checkpoint, _ := l.checkpoint(extension)
	fmt.Fprintf(&out, "\n%s", checkpoint)
	return out.Bytes()
}

// ask plays a log against a witness: the verifier key of the log goes out, then each line of input is a step.
//
//	grow N SALT        the log has N entries from now on
//	fork N SALT        the log forgets all that is behind N entries
//	add OLD [EXT]      asks for a cosignature; prints the status, and the size that was cosigned or named
//	bad KIND           asks with something wrong: signature, origin, proof, method, form
func ask(url, witnessKey string) error {
	cosigner, err := parseCosigner(witnessKey)
	if err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(rand.Reader, "foreign.example/log")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	verifier, _ := note.NewVerifier(public)
	fmt.Println(public)
	l := &log{signer: signer}
	steps := bufio.NewScanner(os.Stdin)
	for steps.Scan() {
		words := append(strings.Fields(steps.Text()), "", "")
		n, _ := strconv.ParseInt(words[1], 10, 64)
		switch words[0] {
		case "grow":
			l.grow(n, words[2])
			fmt.Println("grown", l.size)
		case "fork":
			l.hashes, l.size = l.hashes[:tlog.StoredHashCount(n)], n
			fmt.Println("forked", l.size)
		case "add":
			extension := words[2]
			if extension != "" {
				extension += "\n"
			}
			status, body, kind, err := post(url, l.request(n, extension))
			if err != nil {
				fmt.Println("none")
				continue
			}
			said := strings.TrimSpace(body)
			if status == 200 {
				checkpoint, tree := l.checkpoint(extension)
				opened, err := note.Open(append(checkpoint, body...), note.VerifierList(verifier, cosigner))
				if err != nil || len(opened.Sigs) != 2 {
					return fmt.Errorf("no cosignature: %v %q", err, body)
				}
				said = fmt.Sprint(tree.N)
			} else if status == 409 {
				said += " " + kind
			} else {
				said = ""
			}
			fmt.Println(status, said)
		case "bad":
			request := l.request(0, "")
			switch words[1] {
			case "signature":
				request = bytes.Replace(request, []byte("\n\n\u2014"), []byte("\nmore\n\n\u2014"), 1)
			case "origin":
				request = bytes.ReplaceAll(request, []byte("foreign.example/log"), []byte("foreign.example/other"))
			case "proof":
				request = append([]byte("old 0\n"+tlog.Hash{}.String()+"\n"), request[len("old 0\n"):]...)
			case "form":
				request = request[:len(request)-1]
			}
			status, _, _, err := post(url, request)
			if err != nil {
				return err
			}
			fmt.Println(status)
		}
	}
	return steps.Err()
}

func post(url string, body []byte) (int, string, string, error) {
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Post(url+"/add-checkpoint", "text/plain", bytes.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), answer.Header.Get("Content-Type"), err
}
