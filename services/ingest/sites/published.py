"""The categories of sources that Google publishes for GA4's default channel group, and the assistants of its own rule.

Facts from the list of source categories that Google's help page on the default channel group links to, cut to the
sources that are in use. Names stand for the site under any country's domain.
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SEARCH: Final = _names("""
    360.cn alice aol ask avg babylon baidu bing biglobe centrum.cz cnn comcast conduit daum dogpile duckduckgo ecosia
    exalead excite fireball globo go.mail.ru google incredimail kagi kvasir lycos mamma mojeek msn naver onet presearch
    qwant rakuten rambler search-results search.smt.docomo.ne.jp sesam seznam so.com sogou startpage startsiden
    swisscows terra tut.by ukr virgilio yahoo yandex yippy yep
""")
SOCIAL: Final = _names("""
    badoo bebo blogger bluesky bsky.app clubhouse discord douban facebook fb fb.me flickr flipboard foursquare
    goodreads hi5 ig instagram kakao line linkedin livejournal lnkd.in mastodon medium meetup meta mix myspace nextdoor
    ok.ru pinterest plurk qzone quora reddit sina slack snapchat spotlight stumbleupon t.co t.me telegram threads
    tiktok tumblr twitter viadeo vk vk.com vkontakte wechat weibo weixin whatsapp wordpress x.com xing yammer yelp
""")
VIDEO: Final = _names("""
    bilibili dailymotion disneyplus hulu iqiyi netflix rutube ted twitch vimeo vine wistia youku youtu.be youtube
""")
SHOPPING: Final = _names("""
    alibaba aliexpress amazon ebay etsy idealo igshopping jd kelkoo mercadolibre otto pricerunner rakuten.co.jp shein
    shop.app shopify shopzilla skroutz taobao temu tmall walmart zalando
""")
ASSISTANTS: Final = _names("""
    chat.deepseek.com chat.mistral.ai chat.openai.com chat.qwen.ai chatgpt chatgpt.com claude claude.ai copilot
    copilot.microsoft.com deepseek doubao duck.ai gemini gemini.google.com grok grok.com kimi meta.ai notebooklm
    notebooklm.google.com openai perplexity perplexity.ai phind poe you.com
""")
