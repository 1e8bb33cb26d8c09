//! One Rust file as the paths and attributes that stand in it, each with its line and the kind of code around it.
//!
//! Works on tokens: comments and string literals are out of the way, and what stands inside a macro call is seen, which
//! a syntax tree would hide. `use std::{fs, net::IpAddr}` gives the paths `std::fs` and `std::net::IpAddr`. No names
//! are resolved, so a renamed import is seen where it is imported.
//!
//! Test code is: an item under `#[cfg(test)]`, also when it is a module in a file of its own; a file under
//! `#![cfg(test)]`; and everything in a folder named `tests` or `benches`. In virtual time is a function under `#[tokio::test(start_paused = true)]`.

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::vec::IntoIter;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A Rust file.
pub(super) struct Source {
    pub(super) text: String,
    /// Test code as a whole.
    pub(super) is_test: bool,
    pub(super) paths: Vec<Place>,
    pub(super) attributes: Vec<Place>,
    /// The names of modules that are declared here under `#[cfg(test)]` and stand in other files.
    test_modules: Vec<String>,
    test_lines: Vec<RangeInclusive<usize>>,
}

/// A path such as `std::fs::read`, a macro such as `println!`, or the name of an attribute such as `ignore`.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) around: Around,
}

/// The kind of code that something stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Around {
    pub(super) is_test: bool,
    pub(super) is_in_virtual_time: bool,
}

impl Source {
    /// Reads a file. Fails on what is not made of Rust tokens.
    pub(super) fn read(path: &str, text: String) -> Result<Self> {
        let mut source = Self {
            text,
            is_test: path.split('/').any(|part| matches!(part, "tests" | "benches")),
            paths: vec![],
            attributes: vec![],
            test_modules: vec![],
            test_lines: vec![],
        };
        let tokens = TokenStream::from_str(&source.text).map_err(|error| anyhow!("{error}"))?;
        let around = Around { is_test: source.is_test, is_in_virtual_time: false };
        source.read_tokens(tokens, "", around);
        Ok(source)
    }

    /// Makes test code of a file that another one declares to be that.
    pub(super) fn become_test(&mut self) {
        self.is_test = true;
        let places = self.paths.iter_mut().chain(&mut self.attributes);
        places.for_each(|place| place.around.is_test = true);
    }

    /// Where the modules are that this file, at `path`, declares to be test code: paths without `.rs`.
    pub(super) fn test_modules<'a>(&'a self, path: &str) -> impl Iterator<Item = String> + use<'a> {
        let stem = path.trim_end_matches(".rs");
        let is_root = ["/lib", "/main", "/mod"].iter().any(|root| stem.ends_with(root));
        let folder = if is_root { stem.rsplit_once('/').map_or("", |(folder, _)| folder) } else { stem };
        let folder = folder.to_owned();
        self.test_modules.iter().map(move |name| format!("{folder}/{name}"))
    }

    /// How many lines the file has.
    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// How many of them are not test code.
    pub(super) fn product_lines(&self) -> usize {
        if self.is_test {
            return 0;
        }
        (1..=self.lines()).filter(|line| !self.test_lines.iter().any(|range| range.contains(line))).count()
    }

    /// Reads the tokens between two brackets, `prefix` being the path before the brace of a `use` tree.
    fn read_tokens(&mut self, tokens: TokenStream, prefix: &str, mut around: Around) {
        // The first line of the item that attributes have announced, and what they say about it.
        let mut item: Option<(usize, Around)> = None;
        let mut tokens = tokens.into_iter().collect::<Vec<_>>().into_iter().peekable();
        while let Some(token) = tokens.next() {
            let line = token.span().start().line;
            let here = item.map_or(around, |(_, inside)| inside);
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let is_inner = next_if_punct(&mut tokens, '!');
                    let Some(attribute) = next_if_group(&mut tokens, Delimiter::Bracket) else { continue };
                    let inside = here.under(&attribute);
                    if is_inner {
                        around = inside;
                        self.is_test |= inside.is_test;
                    } else {
                        item = Some((item.map_or(line, |(first, _)| first), inside));
                    }
                    self.read_attribute(attribute.stream(), inside);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => {
                    self.note_test_module(item);
                    self.end_item(item.take(), line);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                TokenTree::Ident(ident) => {
                    let mut path = format!("{prefix}{ident}");
                    read_path(&mut path, &mut tokens);
                    if path.ends_with("::")
                        && let Some(tree) = next_if_group(&mut tokens, Delimiter::Brace)
                    {
                        self.read_tokens(tree.stream(), &path, here);
                        continue;
                    }
                    let bang = if is_macro_call(&mut tokens) { "!" } else { "" };
                    let text = format!("{}{bang}", path.trim_end_matches(':'));
                    self.paths.push(Place { text, line, around: here });
                }
                TokenTree::Group(group) => {
                    let last = group.span_close().end().line;
                    let ends_item = group.delimiter() == Delimiter::Brace;
                    self.read_tokens(group.stream(), "", here);
                    if ends_item {
                        self.end_item(item.take(), last);
                    }
                }
            }
        }
    }

    /// An item that ends in a semicolon is a module elsewhere if the last words before it were `mod name`.
    fn note_test_module(&mut self, item: Option<(usize, Around)>) {
        if let [.., keyword, name] = self.paths.as_slice()
            && keyword.text == "mod"
            && item.is_some_and(|(first, inside)| inside.is_test && first <= keyword.line)
        {
            self.test_modules.push(name.text.clone());
        }
    }

    fn end_item(&mut self, item: Option<(usize, Around)>, last: usize) {
        let test_item = item.filter(|(_, inside)| inside.is_test);
        self.test_lines.extend(test_item.map(|(first, _)| first..=last));
    }

    /// Notes the name of an attribute, of those that a `cfg_attr` brings, and every path in it.
    fn read_attribute(&mut self, content: TokenStream, around: Around) {
        let mut tokens = content.clone().into_iter();
        if let Some(TokenTree::Ident(name)) = tokens.next() {
            let line = name.span().start().line;
            if name == "cfg_attr"
                && let Some(TokenTree::Group(group)) = tokens.next()
            {
                let mut parts = split_at_commas(group.stream()).into_iter();
                parts.next();
                parts.for_each(|attribute| self.read_attribute(attribute, around));
                return;
            }
            self.attributes.push(Place { text: name.to_string(), line, around });
        }
        self.read_tokens(content, "", around);
    }
}

impl Around {
    /// What an item is in that stands here under an attribute.
    fn under(self, attribute: &Group) -> Self {
        let is_paused = attribute.stream().to_string().contains("start_paused = true");
        Self {
            is_test: self.is_test || is_cfg_test(attribute),
            is_in_virtual_time: self.is_in_virtual_time || is_paused,
        }
    }
}

/// Appends the `::name` parts that follow; ends in `::` in front of a brace, a star or a type argument.
fn read_path(path: &mut String, tokens: &mut Peekable<IntoIter<TokenTree>>) {
    while next_if_punct(tokens, ':') {
        // A single colon, as in `name: Type`, is not part of a path and nobody needs it again.
        if !next_if_punct(tokens, ':') {
            return;
        }
        path.push_str("::");
        match tokens.peek() {
            Some(TokenTree::Ident(ident)) => path.push_str(&ident.to_string()),
            _ => return,
        }
        tokens.next();
    }
}

/// `name!(..)` but not `name != other`.
fn is_macro_call(tokens: &mut Peekable<IntoIter<TokenTree>>) -> bool {
    next_if_punct(tokens, '!') && matches!(tokens.peek(), Some(TokenTree::Group(_)))
}

fn next_if_punct(tokens: &mut Peekable<IntoIter<TokenTree>>, character: char) -> bool {
    let wanted = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == character);
    tokens.next_if(wanted).is_some()
}

fn next_if_group(tokens: &mut Peekable<IntoIter<TokenTree>>, delimiter: Delimiter) -> Option<Group> {
    let wanted =
        |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter);
    match tokens.next_if(wanted) {
        Some(TokenTree::Group(group)) => Some(group),
        _ => None,
    }
}

fn split_at_commas(stream: TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(is_comma).map(|part| part.iter().cloned().collect()).collect()
}

/// `cfg(test)`, also inside `all(..)`, but neither `cfg(not(test))` nor `cfg(any(test, ..))`.
fn is_cfg_test(attribute: &Group) -> bool {
    fn asks_for_test(predicate: TokenStream) -> bool {
        let mut tokens = predicate.into_iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) if ident == "test" => return true,
                TokenTree::Ident(ident) if ident == "not" || ident == "any" => drop(tokens.next()),
                TokenTree::Group(group) if asks_for_test(group.stream()) => return true,
                _ => {}
            }
        }
        false
    }
    let mut tokens = attribute.stream().into_iter();
    matches!((tokens.next(), tokens.next()), (Some(TokenTree::Ident(name)), Some(TokenTree::Group(predicate)))
        if name == "cfg" && asks_for_test(predicate.stream()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        Source::read("crates/kosd/src/lib.rs", text.to_owned()).unwrap()
    }

    fn check_paths(text: &str, expected: &[&str]) {
        let source = read(text);
        let paths: Vec<&str> = source.paths.iter().map(|path| path.text.as_str()).collect();
        assert_eq!(paths, expected, "{text}");
    }

    #[test]
    fn paths_are_put_together_across_use_trees_and_macros() {
        check_paths(
            "use std::{fs, net::{self, IpAddr}};",
            &["use", "std::fs", "std::net::self", "std::net::IpAddr"],
        );
        check_paths("assert!(::std::env::var(NAME) != x)", &["assert!", "std::env::var", "NAME", "x"]);
        check_paths("fn f(a: std::fs::File) {}", &["fn", "f", "a", "std::fs::File"]);
        check_paths("Vec::<u8>::new(); use std::fs::*;", &["Vec", "u8", "new", "use", "std::fs"]);
    }

    #[test]
    fn comments_and_strings_hold_no_paths() {
        check_paths("// std::fs\n/* std::fs */ \"std::fs\"; r#\"std::fs\"#; 's';", &[]);
    }

    #[test]
    fn lines_under_cfg_test_are_test_lines() {
        let source = read("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n\nfn c() {}\n");
        assert_eq!(source.product_lines(), 3);
        let tested: Vec<&str> =
            source.paths.iter().filter(|path| path.around.is_test).map(|path| path.text.as_str()).collect();
        assert_eq!(tested, ["cfg", "test", "mod", "tests", "fn", "b"]);
        assert_eq!(read("#[cfg(test)]\nmod tests;\nfn c() {}\n").product_lines(), 1);
        assert_eq!(read("#![cfg(test)]\nfn f() {}\n").product_lines(), 0);
        assert_eq!(read("#[cfg(all(test, unix))]\nmod tests {}\n").product_lines(), 0);
        assert_eq!(read("#[cfg(not(test))]\nmod real {}\n").product_lines(), 2);
        assert_eq!(read("#[cfg(any(test, windows))]\nmod real {}\n").product_lines(), 2);
    }

    #[test]
    fn modules_under_cfg_test_are_found_in_their_files() {
        let source = read("mod real;\n#[cfg(test)]\nmod keys;\n#[cfg(test)]\nmod tests {}\nmod other;\n");
        let found = |path| source.test_modules(path).collect::<Vec<_>>();
        assert_eq!(found("crates/kosd/src/lib.rs"), ["crates/kosd/src/keys"]);
        assert_eq!(found("crates/kosd/src/link.rs"), ["crates/kosd/src/link/keys"]);
    }

    #[test]
    fn attributes_are_named_also_inside_cfg_attr() {
        let source = read("#[cfg_attr(miri, ignore = \"slow\", allow(dead_code))]\n#[test]\nfn f() {}\n");
        let names: Vec<&str> = source.attributes.iter().map(|attribute| attribute.text.as_str()).collect();
        assert_eq!(names, ["ignore", "allow", "test"]);
    }
}
