//! The pieces of work that are measured: set up once, then done any number of times. Criterion times them (`core.rs`),
//! callgrind counts their instructions (`gate.rs`), and `cargo test` runs each of them once.

mod codec;
pub mod document;
mod fanout;
mod list;
mod mailbox;
mod server;
pub mod trie;

/// Does the work once. What it returns depends on what was done, so that no step can be optimised away.
pub type Work = Box<dyn FnMut() -> usize>;

/// One piece.
pub struct Piece {
    /// How it is called on the command line, in budgets and in Criterion's report.
    pub name: &'static str,
    /// The sizes of interest, smallest first; what they count is the piece's own business.
    pub sizes: &'static [usize],
    /// How many operations one piece of work is.
    pub operations: fn(usize) -> usize,
    /// The set-up.
    pub make: fn(usize) -> Work,
}

impl Piece {
    /// A piece of one operation.
    const fn new(name: &'static str, sizes: &'static [usize], make: fn(usize) -> Work) -> Piece {
        Piece { name, sizes, operations: |_| 1, make }
    }

    /// The same with more operations in one piece of work.
    const fn times(self, operations: fn(usize) -> usize) -> Piece {
        Piece { operations, ..self }
    }
}

/// All pieces, in the order of an event's way.
pub const PIECES: &[Piece] = &[
    // sizes: bytes of payload
    Piece::new("frame_parse", &[128, 4096], codec::frame_parse).times(|_| codec::FRAMES),
    // sizes: entries of the document
    Piece::new("normalise", &[1, 60], codec::normalise),
    Piece::new("normalise_again", &[1, 60], codec::normalise_again),
    // sizes: patterns
    Piece::new("trie_match", &[1_000, 100_000, 1_000_000], trie::match_few).times(|_| trie::ROUND),
    Piece::new("trie_match_any", &[1_000, 100_000, 1_000_000], trie::match_any).times(|_| trie::ROUND),
    Piece::new("trie_subscribe", &[1_000, 100_000, 1_000_000], trie::subscribe),
    // sizes: entries of the document
    Piece::new("diff", &[1, 60], document::diff_small_changes),
    // sizes: elements of the array; operations: elements
    Piece::new("diff_shuffled", &[1_000, 10_000], document::diff_shuffled).times(|elements| elements),
    Piece::new("diff_repeated", &[1_000, 10_000], document::diff_repeated).times(|elements| elements),
    Piece::new("diff_long_name", &[1_000, 100_000], document::diff_long_name).times(|elements| elements),
    // sizes: items of the list
    Piece::new("list_update", &[100, 10_000], list::update),
    Piece::new("list_add", &[100, 10_000], list::add),
    Piece::new("list_remove", &[100, 10_000], list::remove),
    Piece::new("encode_list", &[100, 10_000], list::encode),
    // sizes: bytes of payload
    Piece::new("encode_item", &[128, 16384], codec::encode_item),
    Piece::new("encode_publication", &[128, 16384], codec::encode_publication),
    Piece::new("deflate", &[1024, 16384], codec::deflate),
    Piece::new("inflate", &[1024, 16384], codec::inflate),
    // sizes: members of the pool; operations: deliveries
    Piece::new("fanout", &[100, 10_000], fanout::one_frame).times(|members| members),
    Piece::new("fanout_32", &[100, 10_000], fanout::many_frames).times(|members| members * fanout::MANY),
    // sizes: messages in the batch
    Piece::new("mailbox_hop", &[1, 64], mailbox::hop).times(|_| 2),
    // sizes: subscribers
    Piece::new("publication", &[1, 1_000], server::publication),
    Piece::new("document", &[1, 1_000], server::document),
    // sizes: items of the list
    Piece::new("list_item", &[100, 10_000], server::list_item),
    Piece::new("list_join", &[100, 10_000], server::list_join),
    // sizes: documents of the stream; operations: documents
    Piece::new("stream", &[1_000, 200_000], server::stream).times(|documents| documents),
    Piece::new("stream_copy", &[1_000, 200_000], server::stream_copy).times(|documents| documents),
    // sizes: bytes of the document
    Piece::new("document_join", &[100, 100_000], server::document_join),
];

/// The piece of that name.
#[allow(dead_code, reason = "the gate asks by name, Criterion takes them all")]
pub fn find(name: &str) -> Option<&'static Piece> {
    PIECES.iter().find(|piece| piece.name == name)
}
