import pytest

from earful.language import detect, primary


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bonjour, ma carte ne marche pas depuis hier soir, que dois-je faire ?", "fr"),
        ("Wo bleibt mein Paket? Es sollte schon am Montag kommen.", "de"),
        ("Llevo tres semanas esperando el reembolso y nadie me contesta.", "es"),
        ("我的卡被拒了，请帮我看看", "zh"),
        ("包裹在哪里", "zh"),
        ("أين طردي", "ar"),
        ("Не могу войти в личный кабинет, помогите", "ru"),
        ("My card was declined at the till and nobody could tell me why.", "en"),
    ],
)
def test_the_language_of_a_sentence_is_told(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    "text",
    ["", "ok", "!!!", "12345 678", "zzzxq sorry leaning", "Thanks so much!", "@EstaAerolinea #retraso", "https://example.org/que-pasa",
     "XXXX XXXX XXXX, XXXX", "asdkjh qwe lkj", "\ud800"],
)  # fmt: skip
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    assert detect(text) is None


def test_a_long_text_is_told_by_its_beginning_and_lines_do_not_matter() -> None:
    assert detect("Je voudrais\nêtre remboursé\r\nde ma commande, s'il vous plaît.\n" * 2000) == "fr"


@pytest.mark.parametrize(("tag", "language"), [("pt-BR", "pt"), ("EN_gb", "en"), (" de ", "de"), ("zh-Hant-TW", "zh")])
def test_a_tag_begins_with_its_language(tag: str, language: str) -> None:
    assert primary(tag) == language
