module github.com/aioring/aioring/contrib/prometheus

go 1.25.0

require github.com/prometheus/client_golang v1.23.2 // indirect
