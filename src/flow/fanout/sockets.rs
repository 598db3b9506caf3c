//! The seam to whoever moves bytes: the runtime's ring, or the simulator.

/// One send that is due.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// The connection's slot.
    pub slot: u32,
    /// What to send.
    pub bytes: Slices<'a>,
}

/// The bytes of one send.
#[derive(Clone, Copy, Debug)]
pub enum Slices<'a> {
    /// One run.
    One(&'a [u8]),
    /// Several runs, to leave as one send.
    Many(&'a [&'a [u8]]),
}

/// A send that did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Its place in the batch.
    pub index: u32,
    /// How far it came.
    pub came: Came,
}

/// How far a send came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The socket took this many bytes (0 if it was full) and is full now.
    Part(usize),
    /// The socket is broken.
    Broken,
}

/// Something that sends without waiting.
pub trait Sockets {
    /// Sends the whole batch, each element at most once, without blocking. Appends to `short` what did not go out
    /// whole; everything else did. When it returns, no byte of the batch is needed any more.
    fn send(&mut self, batch: &[Due<'_>], short: &mut Vec<Short>);
}
