//! The chat behind the emulated API: rooms and messages in bounded memory.

use std::collections::VecDeque;

use async_graphql::{ID, SimpleObject};
use parking_lot::Mutex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A room of the chat.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct Room {
    pub(super) id: ID,
    pub(super) name: String,
}

/// A message in a room.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct Message {
    pub(super) id: ID,
    /// The id of its room.
    pub(super) room: ID,
    pub(super) body: String,
    pub(super) author: Option<String>,
    pub(super) sent_at: String,
    pub(super) room_details: Room,
}

#[derive(Debug)]
pub(super) struct Chat(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    rooms: VecDeque<Room>,
    messages: VecDeque<Message>,
    /// The total size of all messages.
    bytes: usize,
    rooms_created: u64,
    messages_created: u64,
}

// === impl Chat ===

impl Chat {
    /// Returns a chat with two rooms and a few messages.
    pub(super) fn seeded(now: OffsetDateTime) -> Self {
        let mut contents = Contents::default();
        for (id, name) in [("lobby", "Lobby"), ("garden", "Garden")] {
            contents.add_room(Room {
                id: id.into(),
                name: name.to_owned(),
            });
        }
        let chat = Self(Mutex::new(contents));
        for (room, author, body) in [
            ("lobby", "ada", "Hello, lobby."),
            ("lobby", "grace", "Hello, Ada."),
            ("garden", "ada", "Anybody out here?"),
        ] {
            chat.post(room, body, Some(author.to_owned()), now);
        }
        chat
    }

    pub(super) fn rooms(&self) -> Vec<Room> {
        self.0.lock().rooms.iter().cloned().collect()
    }

    pub(super) fn room(&self, id: &str) -> Option<Room> {
        self.0.lock().room(id)
    }

    /// Returns the latest messages of a room, the oldest first.
    pub(super) fn messages(&self, room: &str, limit: usize) -> Vec<Message> {
        let contents = self.0.lock();
        let mut messages: Vec<Message> = contents
            .messages
            .iter()
            .rev()
            .filter(|message| message.room.as_str() == room)
            .take(limit)
            .cloned()
            .collect();
        messages.reverse();
        messages
    }

    pub(super) fn create_room(&self, name: &str) -> Room {
        let mut contents = self.0.lock();
        contents.rooms_created += 1;
        let room = Room {
            id: format!("room-{}", contents.rooms_created).into(),
            name: name.to_owned(),
        };
        contents.add_room(room.clone());
        room
    }

    /// Adds a message. Returns `None` if the room does not exist.
    pub(super) fn post(
        &self,
        room: &str,
        body: &str,
        author: Option<String>,
        now: OffsetDateTime,
    ) -> Option<Message> {
        let mut contents = self.0.lock();
        let room_details = contents.room(room)?;
        contents.messages_created += 1;
        let message = Message {
            id: format!("message-{}", contents.messages_created).into(),
            room: room_details.id.clone(),
            body: body.to_owned(),
            author,
            sent_at: now.format(&Rfc3339).unwrap_or_default(),
            room_details,
        };
        contents.add_message(message.clone());
        Some(message)
    }
}

// === impl Contents ===

impl Contents {
    fn room(&self, id: &str) -> Option<Room> {
        self.rooms
            .iter()
            .find(|room| room.id.as_str() == id)
            .cloned()
    }

    fn add_room(&mut self, room: Room) {
        if self.rooms.len() >= ROOMS {
            // The first two rooms are the seeded ones, which stay.
            self.rooms.remove(2);
        }
        self.rooms.push_back(room);
    }

    fn add_message(&mut self, message: Message) {
        self.bytes += message.size();
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES || self.bytes > MESSAGE_BYTES {
            let Some(oldest) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= oldest.size();
        }
    }
}

// === impl Message ===

impl Message {
    pub(super) fn size(&self) -> usize {
        self.body.len() + self.author.as_ref().map_or(0, String::len) + self.room_details.name.len()
    }
}

const ROOMS: usize = 200;
const MESSAGES: usize = 1000;
const MESSAGE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let chat = Chat::seeded(now);
        for _ in 0..MESSAGES + 5 {
            chat.post("lobby", "x", None, now);
        }
        assert_eq!(chat.messages("lobby", usize::MAX).len(), MESSAGES);
        for _ in 0..40 {
            chat.post("lobby", &"x".repeat(1 << 20), None, now);
        }
        // One less than sixteen, because the room's name counts too.
        assert_eq!(chat.messages("lobby", usize::MAX).len(), 15);
        for _ in 0..ROOMS {
            chat.create_room("n");
        }
        assert_eq!(chat.rooms().len(), ROOMS);
        assert!(chat.room("garden").is_some());
    }
}
