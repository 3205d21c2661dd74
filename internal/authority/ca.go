package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"freshet/internal/document"
	"freshet/internal/reload"
)

// Files of a CA in its directory.
const (
	CAFile    = "ca.crt"
	CAKeyFile = "ca.key"
)

// Lives of certificates.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	LeafLife = 365 * 24 * time.Hour
	backdate = time.Hour // for nodes whose clocks are slow
)

// Create makes a CA in dir, which is made if it is not there. What is there already is
// never overwritten: fs.ErrExist.
func Create(dir, cluster string, now time.Time) (*x509.Certificate, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Freshet cluster CA " + cluster, Organization: []string{cluster}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err == nil {
		err = writePair(filepath.Join(dir, CAFile), cert, filepath.Join(dir, CAKeyFile), key, false)
	}
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return cert, nil
}

// Order is what a node's certificate is to say.
type Order struct {
	Name  Name
	Hosts []string // DNS names and IP addresses beside the name; nodes do not look at them
	Life  time.Duration
}

// FilesOf are the files of a node's identity in a directory, as Issue calls them.
func FilesOf(dir string, name Name) Files {
	return Files{
		CA: filepath.Join(dir, CAFile), Cert: filepath.Join(dir, name.Node+".crt"), Key: filepath.Join(dir, name.Node+".key"),
	}
}

// Issue has the CA in caDir sign a certificate for a node, and writes it with a new key,
// as NAME.crt and NAME.key, and the CA's certificate, as ca.crt, to dir, which is made if
// it is not there. A certificate that is there is replaced only with renew: else
// fs.ErrExist.
func Issue(caDir, dir string, order Order, renew bool, now time.Time) (Files, *x509.Certificate, error) {
	files := FilesOf(dir, order.Name)
	if files.CA == files.Cert {
		return files, nil, fmt.Errorf("issue certificate: a node cannot be called %s: its files would be the CA's", order.Name.Node)
	}
	if _, err := ParseURI(order.Name.URI()); err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	ca, caKey, err := openCA(caDir)
	if err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	template, err := order.template(now)
	if err == nil && template.NotAfter.After(ca.NotAfter) {
		err = fmt.Errorf("the CA ends on %s, before the certificate would: make a new one, or a certificate for fewer days", ca.NotAfter.Format(time.DateOnly))
	}
	if err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	known, err := knows(files.CA, ca) // first: a node that does not know its CA would not start
	if err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	cert, err := sign(template, ca, &key.PublicKey, caKey)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = writePair(files.Cert, cert, files.Key, key, renew)
	}
	if err == nil && !known {
		err = write(files.CA, "CERTIFICATE", ca.Raw, 0o644, false)
	}
	if err != nil {
		return files, nil, fmt.Errorf("issue certificate: %w", err)
	}
	return files, cert, nil
}

func (o Order) template(now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: o.Name.String()},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(o.Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: Scheme, Opaque: o.Name.String()}},
	}
	if o.Life <= 0 {
		return nil, fmt.Errorf("a certificate for %s would have ended already", o.Life)
	}
	for _, host := range o.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if err := document.CheckHost(host); err != nil {
			return nil, err
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template, nil
}

// openCA reads the CA in dir.
func openCA(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	name, keyName := filepath.Join(dir, CAFile), filepath.Join(dir, CAKeyFile)
	text, err := reload.PEM(name)
	if err != nil {
		return nil, nil, err
	}
	keyText, err := reload.PEM(keyName)
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.X509KeyPair(text, keyText)
	if err != nil {
		return nil, nil, fmt.Errorf("CA %s with key %s: %w", name, keyName, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, fmt.Errorf("CA %s: it is not one that was made by freshet ca init", name)
	}
	return pair.Leaf, key, nil
}

// sign makes a certificate of a template.
func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	var err error
	// At most 20 octets (RFC 5280 §4.1.2.2).
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// writePair writes a key and then its certificate: who reads in between finds that they do
// not match, and looks again. Both are new, unless they are to be replaced.
func writePair(certName string, cert *x509.Certificate, keyName string, key *ecdsa.PrivateKey, replace bool) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(certName); err == nil && !replace {
		return &fs.PathError{Op: "create", Path: certName, Err: fs.ErrExist}
	}
	if err := write(keyName, "PRIVATE KEY", der, 0o600, replace); err != nil {
		return err
	}
	return write(certName, "CERTIFICATE", cert.Raw, 0o644, replace)
}

// write makes a file that comes to be whole and at once.
func write(name, kind string, der []byte, mode fs.FileMode, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), name)
	}
	return os.Link(f.Name(), name)
}

// knows reports whether the file beside a node's certificate holds the CA's: it may hold
// others too, while one CA follows another, and need not be there.
func knows(name string, ca *x509.Certificate) (bool, error) {
	certs, err := readCertificates(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case slices.ContainsFunc(certs, ca.Equal):
		return true, nil
	}
	return false, fmt.Errorf("%s holds another CA: put the new one's certificate beside it there, and later remove the old one's", name)
}

// readCertificates reads a PEM file of certificates, of which there must be one at least.
func readCertificates(name string) ([]*x509.Certificate, error) {
	text, err := reload.PEM(name)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in PEM", name)
	}
	return certs, nil
}

// Read reads the certificates of a PEM file, or of a CA's directory.
func Read(path string) ([]*x509.Certificate, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, CAFile)
	}
	certs, err := readCertificates(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	return certs, nil
}

// Fingerprint is the SHA-256 of a certificate, in hexadecimal digits.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
