//! The words of patterns, each once, with a number that edges use.

use crate::broker::exchange::Map;

/// A word's number, given to another word when nothing uses this one any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word(u32);

#[derive(Debug, Default)]
pub(super) struct Words {
    by_text: Map<Box<str>, Use>,
    free: Vec<Word>,
    /// How many numbers were ever given out at once.
    given: u32,
}

#[derive(Debug)]
struct Use {
    word: Word,
    edges: u32,
}

impl Words {
    pub(super) fn find(&self, text: &str) -> Option<Word> {
        self.by_text.get(text).map(|used| used.word)
    }

    /// The word's number, for one more edge.
    pub(super) fn take(&mut self, text: &str) -> Word {
        if let Some(used) = self.by_text.get_mut(text) {
            used.edges += 1;
            return used.word;
        }
        let word = self.free.pop().unwrap_or_else(|| {
            self.given += 1;
            Word(self.given)
        });
        self.by_text.insert(text.into(), Use { word, edges: 1 });
        word
    }

    /// The word's number, for the edge that goes; the word goes with its last edge.
    pub(super) fn give_back(&mut self, text: &str) -> Option<Word> {
        let used = self.by_text.get_mut(text)?;
        let word = used.word;
        used.edges -= 1;
        if used.edges == 0 {
            self.by_text.remove(text);
            self.free.push(word);
        }
        Some(word)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }
}
