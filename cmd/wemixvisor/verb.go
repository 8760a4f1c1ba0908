package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

// verb is the second word of a command.
type verb struct {
	name string
	do   func(ctx context.Context, s *settings, args []string) error
}

// pick returns the verb that args begin with, and what follows it.
func pick(command string, args []string, verbs ...verb) (verb, []string, error) {
	names := make([]string, len(verbs))
	for i, v := range verbs {
		if len(args) > 0 && args[0] == v.name {
			return v, args[1:], nil
		}
		names[i] = v.name
	}
	if len(args) > 0 {
		command += " " + args[0]
	}
	return verb{}, nil, usageError{fmt.Errorf("%s: one of %s", command, strings.Join(names, ", "))}
}

// one takes a single argument, and says what it should be.
func one(command, what string, args []string) (string, error) {
	if len(args) != 1 {
		return "", usageError{fmt.Errorf("%s: want one argument, %s", command, what)}
	}
	return args[0], nil
}

// only takes no argument, and whether JSON is wanted.
func only(command string, args []string) (raw bool, err error) {
	args, raw, err = jsonOr(command, args)
	if err == nil {
		err = none(command, args)
	}
	return raw, err
}

// single takes a single argument, and whether JSON is wanted.
func single(command, what string, args []string) (arg string, raw bool, err error) {
	args, raw, err = jsonOr(command, args)
	if err == nil {
		arg, err = one(command, what, args)
	}
	return arg, raw, err
}

// jsonOr takes the one flag of a command that prints data.
func jsonOr(command string, args []string) (rest []string, raw bool, err error) {
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	set.BoolVar(&raw, "json", false, "")
	rest, err = flags(set, args)
	return rest, raw, err
}
