//! Floor 4: what touches the machine: executors, the ring, mailboxes, listeners, the turn.
