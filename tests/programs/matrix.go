// The Go program of the matrix: C called from Go and Go from C, threads, and names that libc looks up.
package main

/*
#include <pthread.h>
#include <stdlib.h>
#include <math.h>

extern int twice(int);

static void *run(void *arg) {
    *(int *)arg = twice(*(int *)arg);
    return NULL;
}

static int in_a_thread(int n) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &n)) abort();
    pthread_join(thread, NULL);
    return n;
}

static double rest(double x) { return fmod(x, 4); }
#cgo LDFLAGS: -lm -lpthread
*/
import "C"

import (
	"fmt"
	"net"
	"os/user"
	"sync"
)

//export twice
func twice(n C.int) C.int { return 2 * n }

func main() {
	fmt.Println("callback", C.in_a_thread(21), C.rest(27))
	var group sync.WaitGroup
	sums := make([]int, 8)
	for i := range sums {
		group.Add(1)
		go func(i int) { sums[i] = i * i; group.Done() }(i)
	}
	group.Wait()
	fmt.Println("goroutines", sums)
	root, err := user.LookupId("0")
	if err != nil {
		panic(err)
	}
	fmt.Println("user", root.Username)
	addresses, err := net.LookupHost("localhost")
	if err != nil {
		panic(err)
	}
	fmt.Println("localhost", addresses[0])
	func() {
		defer func() { fmt.Println("recovered", recover() != nil) }()
		var none *int
		fmt.Println(*none)
	}()
}
