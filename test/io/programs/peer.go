// A peer in Go: it listens or dials, and does on each connection what a script says.
//
//	peer listen|dial NETWORK ADDRESS SCRIPT [FLAG=VALUE …]
//
// NETWORK is tcp, unix or udp; with `cert` and `key`, or `ca`, there is TLS on it. A listener first
// prints its port. Each step of SCRIPT (separated by spaces) prints one line, errors included; an
// error ends the script. A listener of UDP sends each datagram back, reversed.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

type peer struct {
	raw  net.Conn
	conn net.Conn
	out  strings.Builder
}

func pattern(count int) []byte {
	data := make([]byte, count)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

func verdict(data []byte) string {
	for i, value := range data {
		if value != byte(i%251) {
			return "bad"
		}
	}
	return "good"
}

// step returns what to print.
func (p *peer) step(name string, count int) (string, error) {
	switch name {
	case "state":
		state := p.conn.(*tls.Conn).ConnectionState()
		peers := len(state.PeerCertificates)
		text := fmt.Sprintf("tls %x alpn=%s", state.Version, state.NegotiatedProtocol)
		return fmt.Sprintf("%s resumed=%t certificates=%d", text, state.DidResume, peers), nil
	case "send":
		sent, err := p.conn.Write(pattern(count))
		return fmt.Sprintf("sent %d", sent), err
	case "recv":
		data := make([]byte, count)
		got, err := io.ReadFull(p.conn, data)
		return fmt.Sprintf("received %d %s", got, verdict(data[:got])), err
	case "all":
		data, err := io.ReadAll(p.conn)
		return fmt.Sprintf("all %d %s", len(data), verdict(data)), err
	case "echo":
		count, err := io.Copy(p.conn, p.conn)
		return fmt.Sprintf("echoed %d", count), err
	case "shut":
		return "shut", p.conn.(interface{ CloseWrite() error }).CloseWrite()
	case "close":
		return "closed", p.conn.Close()
	case "cut": // below TLS: without a word
		return "cut", p.raw.Close()
	case "reset":
		if err := p.raw.(*net.TCPConn).SetLinger(0); err != nil {
			return "", err
		}
		return "reset", p.raw.Close()
	}
	return "", fmt.Errorf("no step %s", name)
}

func (p *peer) run(script string) {
	defer p.conn.Close()
	if secure, ok := p.conn.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			fmt.Fprintf(&p.out, "error %v\n", err)
			return
		}
	}
	for _, step := range strings.Fields(script) {
		name, number, _ := strings.Cut(step, ":")
		count, _ := strconv.Atoi(number)
		line, err := p.step(name, count)
		if err != nil {
			fmt.Fprintf(&p.out, "error %v\n", err)
			return
		}
		fmt.Fprintln(&p.out, line)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func readFlags(words []string) map[string]string {
	flags := map[string]string{}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		flags[name] = value
	}
	return flags
}

func configOf(flags map[string]string) *tls.Config {
	if flags["cert"] == "" && flags["ca"] == "" {
		return nil
	}
	sessions := tls.NewLRUClientSessionCache(8)
	config := &tls.Config{ServerName: "server.test", ClientSessionCache: sessions}
	if flags["alpn"] != "" {
		config.NextProtos = strings.Split(flags["alpn"], ",")
	}
	if flags["tls"] == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	if flags["cert"] != "" {
		pair, err := tls.LoadX509KeyPair(flags["cert"], flags["key"])
		fail(err)
		config.Certificates = []tls.Certificate{pair}
	}
	if flags["ca"] != "" {
		text, err := os.ReadFile(flags["ca"])
		fail(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		config.RootCAs = pool
		config.ClientCAs = pool
	}
	if flags["verify"] != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

func listen(network, address, script string, config *tls.Config) {
	listener, err := net.Listen(network, address)
	fail(err)
	if bound, ok := listener.Addr().(*net.TCPAddr); ok {
		fmt.Println(bound.Port)
	} else {
		fmt.Println("listening")
	}
	for {
		raw, err := listener.Accept()
		fail(err)
		go func() {
			one := &peer{raw: raw, conn: raw}
			if config != nil {
				one.conn = tls.Server(raw, config)
			}
			one.run(script)
			fmt.Print(one.out.String() + "over\n")
		}()
	}
}

func dial(network, address, script string, config *tls.Config, times int) {
	for i := 0; i < times; i++ {
		raw, err := net.Dial(network, address)
		fail(err)
		one := &peer{raw: raw, conn: raw}
		if config != nil {
			one.conn = tls.Client(raw, config)
		}
		one.run(script)
		fmt.Print(one.out.String())
	}
}

func echoDatagrams(address string) {
	conn, err := net.ListenPacket("udp", address)
	fail(err)
	fmt.Println(conn.LocalAddr().(*net.UDPAddr).Port)
	data := make([]byte, 65536)
	for {
		count, from, err := conn.ReadFrom(data)
		fail(err)
		answer := make([]byte, count)
		for i, value := range data[:count] {
			answer[count-1-i] = value
		}
		_, err = conn.WriteTo(answer, from)
		fail(err)
	}
}

func main() {
	mode, network, address, script := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	flags := readFlags(os.Args[5:])
	config := configOf(flags)
	switch {
	case mode == "dial":
		times, err := strconv.Atoi("0" + flags["times"])
		fail(err)
		if times == 0 {
			times = 1
		}
		dial(network, address, script, config, times)
	case network == "udp":
		echoDatagrams(address)
	default:
		listen(network, address, script, config)
	}
}
