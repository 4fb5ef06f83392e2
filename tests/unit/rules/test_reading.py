"""Paths as rules read them: no spelling of a path may slip past a rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.core.rules.reading import read_path


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/", "/"),
        (b"/a/b", "/a/b"),
        (b"/a/b/", "/a/b/"),
        (b"/Admin?X=Y", "/admin"),
        (b"/a?b=/../c%2f", "/a"),
        (b"/a.b/...", "/a.b/..."),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/..a/b..", "/..a/b.."),
        (b"/%61dmin", "/admin"),
        (b"/%41dmin", "/admin"),
        (b"/caf%C3%A9", "/café"),
        (b"/%7Euser", "/~user"),
        (b"/100%25", "/100%"),
        (b"/e%CC%81", "/é"),
        (b"/%FF", "/\udcff"),
        (b"*", "*"),
    ],
)
def test_ordinary_paths_have_one_reading(path, reading):
    assert read_path(path) == (reading,)


@pytest.mark.parametrize(
    "path",
    [
        b"/admin",
        b"/Admin",
        b"/ADMIN",
        b"//admin",
        b"/./admin",
        b"/x/../admin",
        b"/x/%2e%2e/admin",
        b"/x/.%2E/admin",
        b"/x/%252e%252e/admin",
        b"/%61dmin",
        b"/%2561dmin",
        b"/%252561dmin",
        b"/%2fadmin",
        b"/x%2f..%2fadmin",
        b"/x\\..\\admin",
        b"/%5cadmin",
        b"/x%5C..%5Cadmin",
        b"/..;/admin",
        b"/x/..;a=b/admin",
        b"/admin;jsessionid=1",
        b"/;/admin",
        b"/admin%00",
        b"/admin%00.html",
        b"/%EF%BC%8Fadmin",
        b"/x/%E2%80%A5/admin",
        b"/\xef\xbd\x81dmin",
        b"/%EF%BD%81dmin",
        b"/../../admin",
        b"/.//./admin",
    ],
)
def test_every_spelling_of_admin_is_read_as_admin_too(path):
    assert "/admin" in read_path(path)


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        (b"/a%2Fb", ("/a%2fb", "/a/b")),
        (b"/admin%2f..", ("/admin%2f..", "/admin/..", "/")),
        (b"//a", ("//a", "/a")),
        (b"/a/..", ("/a/..", "/")),
        (b"/a/b/..", ("/a/b/..", "/a/")),
        (b"/a;v=1/b", ("/a;v=1/b", "/a/b")),
        (b"/%zz", ("/%zz",)),
        (b"/%", ("/%",)),
    ],
)
def test_what_targets_read_in_several_ways_is_read_in_all_of_them(path, readings):
    assert read_path(path) == readings


@given(st.binary(max_size=60))
def test_any_bytes_have_readings_and_the_last_is_resolved(tail):
    last = read_path(b"/" + tail)[-1]
    assert last.startswith("/")
    assert read_path(b"/" + tail) == read_path(b"/" + tail)


@given(
    st.lists(
        st.sampled_from(["/", ".", "..", "%2f", "%2e", "a", ";x", "\\", "%5c", "%25", "%00"]), max_size=8
    )
)
def test_a_resolved_reading_has_nothing_left_to_resolve(parts):
    last = read_path(("/" + "".join(parts)).encode())[-1]
    assert "//" not in last
    assert not {".", ".."} & set(last.split("/"))
