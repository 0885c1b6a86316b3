// Serves GET /rooms with the rooms of the API, and needs only the standard library.
//
// GRAPHQL_URL is the address of countersign, LISTEN the address of this service.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

var client = &http.Client{Timeout: 30 * time.Second}

type response struct {
	Data struct {
		Rooms []struct{ ID, Name string }
	}
	Errors []struct {
		Message    string
		Extensions struct{ Code, Sent, Hint string }
	}
}

func rooms() (*response, error) {
	url := first(os.Getenv("GRAPHQL_URL"), "http://127.0.0.1:4100/graphql")
	body, err := json.Marshal(map[string]string{"query": "{ rooms { id name } }"})
	if err != nil {
		return nil, err
	}
	answer, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var result response
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return nil, fmt.Errorf("status %s: %w", answer.Status, err)
	}
	if len(result.Errors) > 0 {
		// countersign explains rejections by AWS in `hint`, and whether AWS may have acted in `sent`.
		top := result.Errors[0]
		return nil, fmt.Errorf("%s (%s) %s", top.Message, top.Extensions.Code, top.Extensions.Hint)
	}
	return &result, nil
}

func main() {
	http.HandleFunc("/rooms", func(w http.ResponseWriter, _ *http.Request) {
		result, err := rooms()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		for _, room := range result.Data.Rooms {
			fmt.Fprintf(w, "%s %s\n", room.ID, room.Name)
		}
	})
	listener, err := net.Listen("tcp", first(os.Getenv("LISTEN"), "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

// first returns the first value that is not empty.
func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
