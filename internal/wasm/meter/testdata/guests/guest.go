// Command guest does one piece of work and prints what came of it: the guest in Go of the
// tests and benchmarks of package meter. Its siblings here do the same in other languages.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	work := map[string]func() int{"fib": func() int { return fib(27) }, "sieve": sieve, "matmul": matmul, "json": records}
	fmt.Println(work[os.Args[1]]())
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func sieve() int {
	const n = 2_000_000
	composite := make([]bool, n)
	count := 0
	for i := 2; i < n; i++ {
		if composite[i] {
			continue
		}
		count++
		for j := 2 * i; j < n; j += i {
			composite[j] = true
		}
	}
	return count
}

func matmul() int {
	const n = 200
	a, b, c := make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
	for i := range a {
		a[i], b[i] = float64(i%7), float64(i%5)
	}
	for i := range n {
		for j := range n {
			sum := 0.0
			for k := range n {
				sum += a[i*n+k] * b[k*n+j]
			}
			c[i*n+j] = sum
		}
	}
	return int(c[n*n-1] + c[17])
}

type record struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Tags []int  `json:"tags"`
}

func records() int {
	var list []record
	for i := range 2000 {
		list = append(list, record{ID: i, Name: fmt.Sprintf("record %d", i), Tags: []int{i, i * 2, i * 3}})
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	var again []record
	if err := json.Unmarshal(text, &again); err != nil {
		panic(err)
	}
	sum := 0
	for _, r := range again {
		sum += r.ID + len(r.Name) + r.Tags[2]
	}
	return sum
}
