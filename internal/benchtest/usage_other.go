//go:build !unix

package benchtest

func used() usage { return usage{} }
