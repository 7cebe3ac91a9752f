module github.com/fsagent/fsagent/services/calculator

go 1.26.0
