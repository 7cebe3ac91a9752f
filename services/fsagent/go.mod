module github.com/fsagent/fsagent/services/fsagent

go 1.26.0
