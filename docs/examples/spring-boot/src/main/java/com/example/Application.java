package com.example;

import java.net.URI;
import java.time.Duration;
import java.util.List;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.graphql.client.HttpGraphQlClient;
import org.springframework.graphql.client.WebSocketGraphQlClient;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.reactive.socket.client.ReactorNettyWebSocketClient;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/** Serves the rooms and the messages of the API. GRAPHQL_URL is the address of countersign. */
@SpringBootApplication
public class Application {

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    record Room(String id, String name) {
    }

    record Message(String room, String body) {
    }

    @RestController
    static class Rooms {

        private final HttpGraphQlClient calls;
        private final WebSocketGraphQlClient events;

        Rooms(@Value("${GRAPHQL_URL:http://127.0.0.1:4100/graphql}") String url) {
            calls = HttpGraphQlClient.create(WebClient.create(url));
            // http becomes ws, https becomes wss.
            URI socket = URI.create(url.replaceFirst("^http", "ws"));
            events = WebSocketGraphQlClient.create(socket, new ReactorNettyWebSocketClient());
        }

        @GetMapping("/rooms")
        Mono<List<Room>> rooms() {
            return calls.document("{ rooms { id name } }")
                .retrieve("rooms")
                .toEntityList(Room.class);
        }

        /** A mutation selects what subscriptions filter by and show: `room` and `body`. */
        @PostMapping("/messages")
        Mono<Message> post(@RequestBody String body) {
            return calls.document("""
                    mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { room body } }
                    """)
                .variable("body", body)
                .retrieve("postMessage")
                .toEntity(Message.class);
        }

        /** A stream of events. countersign closes sockets with 1012 after a loss: events may be missing. */
        @GetMapping(path = "/messages", produces = MediaType.TEXT_EVENT_STREAM_VALUE)
        Flux<Message> messages() {
            return events.document("subscription { onMessage(room: \"lobby\") { room body } }")
                .retrieveSubscription("onMessage")
                .toEntity(Message.class)
                .retryWhen(Retry.backoff(Long.MAX_VALUE, Duration.ofSeconds(1)).maxBackoff(Duration.ofMinutes(1)));
        }
    }
}
