//! What functions say in their signatures.

use quote::ToTokens as _;
use syn::{FnArg, ImplItem, Item, Pat, ReturnType, Signature, TraitItem, Visibility};

use crate::source::Crate;

/// Functions that other modules can call and whose error is a `String`.
pub fn text_errors(one: &Crate) -> Vec<String> {
    let is_text = |signature: &Signature| match &signature.output {
        ReturnType::Type(_, output) => {
            let output = output.to_token_stream().to_string();
            output.contains("Result <") && output.contains(", String >")
        }
        ReturnType::Default => false,
    };
    functions(one).into_iter().filter(|(_, visible, signature)| *visible && is_text(signature)).map(line).collect()
}

/// Functions with a parameter called `role` that is text.
pub fn text_roles(one: &Crate) -> Vec<String> {
    let is_text = |signature: &Signature| {
        signature.inputs.iter().any(|input| match input {
            FnArg::Typed(input) => {
                let name = matches!(&*input.pat, Pat::Ident(name) if name.ident == "role" || name.ident == "role_name");
                let of = input.ty.to_token_stream().to_string();
                name && (of.ends_with("str") || of == "String" || of == "& String" || of == "impl Into < String >")
            }
            FnArg::Receiver(_) => false,
        })
    };
    functions(one).into_iter().filter(|(_, _, signature)| is_text(signature)).map(line).collect()
}

/// Every function with its file and whether other modules can call it.
fn functions(one: &Crate) -> Vec<(&str, bool, &Signature)> {
    let mut found = Vec::new();
    for file in one.files.values() {
        let path = file.path.as_str();
        for item in &file.items {
            match item {
                Item::Fn(item) => found.push((path, visible(&item.vis), &item.sig)),
                Item::Impl(item) => found.extend(item.items.iter().filter_map(|member| match member {
                    ImplItem::Fn(member) => Some((path, item.trait_.is_some() || visible(&member.vis), &member.sig)),
                    _ => None,
                })),
                Item::Trait(item) => found.extend(item.items.iter().filter_map(|member| match member {
                    TraitItem::Fn(member) => Some((path, true, &member.sig)),
                    _ => None,
                })),
                _ => {}
            }
        }
    }
    found
}

fn visible(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

fn line((path, _, signature): (&str, bool, &Signature)) -> String {
    format!("{path}: fn {}", signature.ident)
}
