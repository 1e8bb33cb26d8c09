//! Questions to a device that somebody waits to have answered: calls of agents, and other devices to be judged.

use std::sync::Arc;

use kos_klp::{body::Ack, message::MessageId};

use super::links::Ask;

/// Most of one kind that a device has not answered while somebody waits. Stops a device that never answers from filling the memory.
const WAITING_MAX: usize = 4;

/// What is not answered yet.
#[derive(Debug, Default)]
pub(super) struct Questions(Vec<(MessageId, Arc<Ask>)>);

impl Questions {
    /// Whether another one may be asked. Those for which nobody waits any more make room; what is being answered does not.
    pub(super) fn have_room(&mut self) -> bool {
        self.0.retain(|(_, ask)| !ask.answer.is_closed());
        self.0.len() < WAITING_MAX
    }

    /// It is on its way.
    pub(super) fn asked(&mut self, under_way: MessageId, ask: Arc<Ask>) {
        self.0.push((under_way, ask));
    }

    /// Hands on what the device answers.
    pub(super) fn answered(&mut self, of: Option<MessageId>, ack: &Ack) {
        let Some(at) = self.0.iter().position(|(under_way, _)| Some(*under_way) == of) else { return };
        let (_, ask) = self.0.remove(at);
        let answer = match ack.status() {
            0 => Ok(ack.result().unwrap_or_default().to_vec()),
            number => Err(number),
        };
        // Whoever asked may have stopped waiting.
        drop(ask.answer.try_send(answer));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId::from_bytes([u8::try_from(number).unwrap(); 16])
    }

    #[test]
    fn what_is_being_answered_keeps_its_place_and_who_went_away_makes_room() {
        let mut questions = Questions::default();
        let mut waiting = Vec::new();
        for number in 0..WAITING_MAX {
            assert!(questions.have_room());
            let (answer, answered) = mpsc::channel(1);
            questions.asked(id(number), Arc::new(Ask { said: Vec::new(), answer }));
            waiting.push(answered);
        }
        assert!(!questions.have_room(), "somebody waits for each");
        questions.answered(Some(id(9)), &Ack::done(None));
        questions.answered(None, &Ack::done(None));
        assert!(!questions.have_room(), "that was no answer to any");
        questions.answered(Some(id(0)), &Ack::done(Some(b"so".to_vec())));
        assert_eq!(waiting[0].try_recv().unwrap(), Ok(b"so".to_vec()));
        assert!(questions.have_room());
        let (answer, _) = mpsc::channel(1);
        questions.asked(id(5), Arc::new(Ask { said: Vec::new(), answer }));
        drop(waiting.pop());
        assert!(questions.have_room(), "nobody waits for two of them");
    }
}
