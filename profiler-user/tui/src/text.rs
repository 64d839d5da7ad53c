//! Texts that must fit: clipped names, wrapped sentences.
//!
//! In: texts from outside and a width. Out: spans and lines no wider. Must not know: what the texts mean.

use ratatui::{
    buffer::CellWidth,
    text::{Line, Span},
};

/// Width of a text on the screen, in columns.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    if c.is_control() {
        1
    } else {
        usize::from(c.encode_utf8(&mut [0; 4]).cell_width())
    }
}

/// A text from outside in at most `max` columns: control characters are shown as `?`, and what does not fit gives
/// way to `…` in the middle, because both ends of a name tell things apart.
pub(super) fn clip(text: &str, max: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    if width(text) <= max {
        return clean.collect();
    }
    if max == 0 {
        return String::new();
    }
    let tail_room = (max - 1) / 2;
    let mut head = take(clean.clone(), max - 1 - tail_room);
    head.push('…');
    let tail = take(clean.rev(), tail_room);
    head.extend(tail.chars().rev());
    head
}

/// A sentence in at most `max` columns: its end gives way.
pub(super) fn clip_end(text: &str, max: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if width(text) <= max {
        return clean.collect();
    }
    let mut head = take(clean, max.saturating_sub(1));
    if max > 0 {
        head.push('…');
    }
    head
}

fn take(chars: impl Iterator<Item = char>, mut room: usize) -> String {
    chars
        .map_while(|c| {
            room = room.checked_sub(char_width(c))?;
            Some(c)
        })
        .collect()
}

/// A label, and beside it a sentence wrapped at its spaces, as far as `width` columns allow.
pub(super) fn wrap(
    label: &Span<'static>,
    indent: usize,
    spans: &[Span<'static>],
    width: usize,
) -> Vec<Line<'static>> {
    let room = width.saturating_sub(indent).max(1);
    // A word ends at a space only: spans that touch are one word in several styles.
    let mut words: Vec<Vec<Span>> = vec![Vec::new()];
    for span in spans {
        for (i, piece) in span.content.split(' ').enumerate() {
            if i > 0 {
                words.push(Vec::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(Span::styled(clip_end(piece, room), span.style));
            }
        }
    }
    let mut rows: Vec<Vec<Span>> = vec![Vec::new()];
    let mut used = 0;
    for word in words {
        let length: usize = word.iter().map(|piece| self::width(&piece.content)).sum();
        // No spaces at the start of a row.
        if used > 0 && used + 1 + length > room {
            rows.push(Vec::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            if used > 0 {
                row.push(Span::raw(" "));
                used += 1;
            }
            row.extend(word);
            used += length;
        }
    }
    let blank = " ".repeat(indent);
    let lines = rows.into_iter().enumerate().map(|(i, row)| {
        let start = if i == 0 {
            let label_width = self::width(&label.content).min(indent);
            let text = clip_end(&label.content, indent) + &" ".repeat(indent - label_width);
            Span::styled(text, label.style)
        } else {
            Span::raw(blank.clone())
        };
        Line::from_iter(std::iter::once(start).chain(row))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_both_ends() {
        assert_eq!(clip("web", 8), "web");
        assert_eq!(clip("checkout-service-7f9c", 11), "check…-7f9c");
        assert_eq!(clip("名前名前名前", 7), "名…前");
        assert_eq!(clip("a\u{1b}[31mb", 20), "a?[31mb");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(clip("abc", 1), "…");
        assert_eq!(clip_end("a long reason", 7), "a long…");
    }

    #[test]
    fn sentences_wrap_beside_their_label() {
        let spans = [Span::raw("all is"), Span::raw(" well today")];
        let lines = wrap(&Span::raw("State"), 6, &spans, 14);
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        assert_eq!(lines, ["State all is", "      well", "      today"]);
        assert!(!wrap(&Span::raw("State"), 6, &spans, 0).is_empty());
    }
}
