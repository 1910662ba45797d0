// The net/http of Go, for test/http/client-foreign.test.ts: prints its port.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

func main() {
	text := strings.Repeat("uvio and others. ", 20000)
	http.HandleFunc("/", http.NotFound)
	http.HandleFunc("/text", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) })
	http.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/text", 302)
	})
	http.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("connection", "close")
		io.WriteString(w, "bye")
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		// It reads no more of a request once it has answered.
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	http.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("trailer", "x-sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("x-sum", "4")
	})
	http.HandleFunc("/broken", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.Serve(listener, nil)
}
