//! How a browser reads a stream of events (WHATWG HTML, 9.2.6): chunks, lines, fields, events.

/// One event as a client sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name, `message` unless said.
    pub name: String,
    /// Its data, lines joined.
    pub data: String,
    /// The last id that was said, here or before.
    pub id: String,
}

/// Reads bytes of a chunked body.
#[derive(Debug, Default)]
pub struct Reader {
    raw: Vec<u8>,
    text: Vec<u8>,
    id: String,
    next_id: String,
    name: String,
    data: String,
    /// The events so far.
    pub events: Vec<Event>,
    /// How often a comment came.
    pub comments: usize,
    /// What `retry:` said last.
    pub retry: Option<u64>,
    /// Whether the body has ended properly.
    pub ended: bool,
}

impl Reader {
    /// The last id that came.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes bytes of the body, in whatever pieces.
    pub fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        while let Some(end) = self.raw.windows(2).position(|w| w == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..end]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).expect("a size is hex");
            if self.raw.len() < end + 2 + size + 2 {
                return;
            }
            assert!(!self.ended, "nothing stands behind the end");
            assert_eq!(&self.raw[end + 2 + size..end + 4 + size], b"\r\n");
            self.text.extend_from_slice(&self.raw[end + 2..end + 2 + size]);
            self.raw.drain(..end + 4 + size);
            self.ended = size == 0;
        }
        while let Some(end) = self.text.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            self.line(std::str::from_utf8(&line[..end]).expect("events are UTF-8"));
        }
    }

    fn line(&mut self, line: &str) {
        assert!(!line.contains('\r'));
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.dispatch(),
            "" => self.comments += 1,
            "event" => self.name = value.to_owned(),
            "data" => self.data.push_str(&format!("{value}\n")),
            "id" => self.next_id = value.to_owned(),
            "retry" => self.retry = Some(value.parse().expect("digits")),
            other => panic!("the field {other}"),
        }
    }

    fn dispatch(&mut self) {
        self.id.clone_from(&self.next_id);
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        let Some(data) = data.strip_suffix('\n') else { return };
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push(Event { name, data: data.to_owned(), id: self.id.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Reader};
    use fanfare::wire::sse::{LAST_CHUNK, chunk, write_id, write_name, write_text};

    fn event(name: &str, data: &str, id: &str) -> Event {
        Event { name: name.into(), data: data.into(), id: id.into() }
    }

    #[test]
    fn a_client_reads_what_was_written_in_whatever_pieces() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut wire, mut want) = (Vec::new(), Vec::new());
            let mut last = String::new();
            for n in 0..rng.usize(1..20) {
                let name = *rng.choice(&["message", "change", "ping"]).unwrap();
                let text: String =
                    (0..rng.usize(0..9)).map(|_| *rng.choice(&['a', ' ', ':', '\n', 'é']).unwrap()).collect();
                if rng.bool() {
                    last = format!("id{n}");
                    // an id may come in a chunk of its own
                    wire.extend(chunk(|out| write_id(&last, out)));
                }
                wire.extend(chunk(|out| {
                    write_name(name, out);
                    write_text(&text, out);
                }));
                want.push(event(name, &text, &last));
            }
            wire.extend_from_slice(LAST_CHUNK);
            let mut reader = Reader::default();
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rng.usize(1..=rest.len()));
                reader.push(piece);
                rest = more;
            }
            assert_eq!((reader.events, reader.ended), (want, true));
        }
    }

    #[test]
    fn nobody_can_add_fields_of_his_own() {
        let mut reader = Reader::default();
        reader.push(&chunk(|out| {
            write_id("a\nevent: x\0", out);
            write_name("evil\r\ndata: 1\n\ndata: 2", out);
            write_text("one\r\ntwo\rid: three", out);
        }));
        assert_eq!(reader.events, [event("evildata: 1data: 2", "one\ntwo\nid: three", "aevent: x")]);
    }
}
