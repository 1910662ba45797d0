// Go's client over HTTP/2: asks the server at the URL that is given, with the CA that is given.
package main

import (
  "bytes"
  "crypto/tls"
  "crypto/x509"
  "fmt"
  "io"
  "net/http"
  "os"
)

func main() {
  pem, _ := os.ReadFile(os.Args[2])
  pool := x509.NewCertPool()
  pool.AppendCertsFromPEM(pem)
  config := &tls.Config{RootCAs: pool, ServerName: "server.test"}
  transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
  client := &http.Client{Transport: transport}
  done := make(chan string, 20)
  ask := func(path string, body []byte) {
    method := "GET"
    if body != nil { method = "POST" }
    request, _ := http.NewRequest(method, os.Args[1]+path, bytes.NewReader(body))
    response, err := client.Do(request)
    if err != nil { done <- err.Error(); return }
    text, err := io.ReadAll(response.Body)
    if err != nil { done <- err.Error(); return }
    done <- fmt.Sprintf("%s %s %d %d", response.Proto, path, response.StatusCode, len(text))
  }
  body := bytes.Repeat([]byte("x"), 300000)
  ask("/", nil)
  for i := 0; i < 5; i++ { go ask("/large", nil); go ask("/echo", body); go ask("/early", body) }
  for i := 0; i < 16; i++ { fmt.Println(<-done) }
}
