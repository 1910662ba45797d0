// Goroutines on one processor: tasks CASE SECONDS.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func spawnOne() int {
	for i := 0; i < 1000; i++ {
		done := make(chan struct{})
		go func() { close(done) }()
		<-done
	}
	return 1000
}

func spawnMany() int {
	var group sync.WaitGroup
	group.Add(1000)
	for i := 0; i < 1000; i++ {
		go group.Done()
	}
	group.Wait()
	return 1000
}

func sleep0One() int {
	for i := 0; i < 1000; i++ {
		runtime.Gosched()
	}
	return 1000
}

func sleep0Many() int {
	var group sync.WaitGroup
	group.Add(100)
	for i := 0; i < 100; i++ {
		go func() {
			for j := 0; j < 100; j++ {
				runtime.Gosched()
			}
			group.Done()
		}()
	}
	group.Wait()
	return 10_000
}

func pingPong() int {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for i := 0; i < 1000; i++ {
			back <- <-there
		}
	}()
	for i := 0; i < 1000; i++ {
		there <- i
		<-back
	}
	return 1000
}

func boundedQueue() int {
	queue, done := make(chan int, 100), make(chan struct{})
	go func() {
		for i := 0; i < 10_000; i++ {
			<-queue
		}
		close(done)
	}()
	for i := 0; i < 10_000; i++ {
		queue <- i
	}
	<-done
	return 10_000
}

func gather() int {
	var group sync.WaitGroup
	results := make([]int, 10_000)
	group.Add(len(results))
	for i := range results {
		go func(i int) {
			results[i] = i
			group.Done()
		}(i)
	}
	group.Wait()
	return len(results)
}

func sleeper(ctx context.Context, group *sync.WaitGroup) {
	timer := time.NewTimer(time.Hour)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	timer.Stop()
	group.Done()
}

func cancel() int {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Add(10_000)
	for i := 0; i < 10_000; i++ {
		go sleeper(ctx, &group)
	}
	runtime.Gosched()
	stop()
	group.Wait()
	return 10_000
}

func resident() int {
	runtime.GC()
	data, _ := os.ReadFile("/proc/self/statm")
	var size, pages int
	fmt.Sscan(string(data), &size, &pages)
	return pages * 4096
}

func bytesEach() float64 {
	start := func(count int) {
		for i := 0; i < count; i++ {
			go time.Sleep(time.Hour)
		}
		time.Sleep(200 * time.Millisecond)
	}
	start(1000)
	before := resident()
	start(100_000)
	return float64(resident()-before) / 100_000
}

func cpuUs() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return (usage.Utime.Nano() + usage.Stime.Nano()) / 1000
}

func main() {
	runtime.GOMAXPROCS(1)
	cases := map[string]func() int{
		"spawn-one": spawnOne, "spawn-many": spawnMany, "sleep0-1": sleep0One,
		"sleep0-100": sleep0Many, "ping-pong": pingPong, "bounded-queue": boundedQueue,
		"gather": gather, "cancel": cancel,
	}
	if os.Args[1] == "bytes" {
		fmt.Printf("{\"bytes\":%f}\n", bytesEach())
		return
	}
	run := cases[os.Args[1]]
	seconds, _ := strconv.ParseFloat(os.Args[2], 64)
	for until := time.Now().Add(400 * time.Millisecond); time.Now().Before(until); {
		run()
	}
	operations, before := 0, cpuUs()
	for float64(cpuUs()-before) < seconds*1e6 {
		operations += run()
	}
	fmt.Printf("{\"operations\":%d,\"cpuUs\":%d}\n", operations, cpuUs()-before)
}
