// Go's client: asks the server at the URL that is given, and tells line by line what it got.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"
)

var base = os.Args[1]
var client = &http.Client{Transport: &http.Transport{
	MaxIdleConnsPerHost:   50,
	ExpectContinueTimeout: 20 * time.Second,
}}
var connections = 0

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func ask(method string, path string, body io.Reader, header ...string) string {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			connections++
		}
	}}
	made := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(made, method, base+path, body)
	check(err)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(err)
	if len(text) > 50 {
		text = []byte(fmt.Sprint(len(text), " bytes"))
	}
	return fmt.Sprintf("%s %s: %d %s", method, path, response.StatusCode, text)
}

// A body of unknown length goes in chunks.
func chunks() io.Reader {
	reader, writer := io.Pipe()
	go func() {
		for i := 0; i < 300; i++ {
			io.WriteString(writer, strings.Repeat("x", 1000))
		}
		writer.Close()
	}()
	return reader
}

func abandoned() string {
	limited, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(limited, "GET", base+"/never", nil)
	_, err := client.Do(request)
	return fmt.Sprint("abandoned: ", limited.Err() != nil && err != nil)
}

func main() {
	for i := 0; i < 20; i++ {
		ask("GET", "/", nil)
	}
	fmt.Println(ask("GET", "/", nil))
	fmt.Println("connections:", connections)
	for _, path := range []string{"/large", "/packed", "/parts", "/moved"} {
		fmt.Println(ask("GET", path, nil))
	}
	fmt.Println(ask("HEAD", "/large", nil))
	fmt.Println(ask("GET", "/file", nil, "Range", "bytes=2-4"))
	fmt.Println(ask("POST", "/echo", strings.NewReader("hello"), "Expect", "100-continue"))
	fmt.Println(ask("POST", "/echo", chunks()))
	fmt.Println(ask("POST", "/through", chunks()))
	long := strings.NewReader(strings.Repeat("x", 300000))
	fmt.Println(ask("POST", "/early", long, "Expect", "100-continue"))
	form := "application/x-www-form-urlencoded"
	fmt.Println(ask("POST", "/form", strings.NewReader("a=1+2&b=%C3%A4"), "Content-Type", form))
	fmt.Println(abandoned())
	var all sync.WaitGroup
	right := make([]bool, 100)
	for i := range right {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			text := fmt.Sprint(i)
			response, err := client.Post(base+"/echo", "text/plain", strings.NewReader(text))
			check(err)
			answer, _ := io.ReadAll(response.Body)
			response.Body.Close()
			right[i] = string(answer) == text
		}(i)
	}
	all.Wait()
	count := 0
	for _, ok := range right {
		if ok {
			count++
		}
	}
	fmt.Println("right:", count)
}
