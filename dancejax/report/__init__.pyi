from .collect import (
    collect as collect,
)
from .content import (
    Content as Content,
    gather as gather,
    watch as watch,
)
from .entry import (
    Entry as Entry,
    Run as Run,
)
from .pages import (
    Page as Page,
    to_html as to_html,
    to_markdown as to_markdown,
    write as write,
)
from .progress import (
    Unfinished as Unfinished,
    Watch as Watch,
)
from .tables import (
    summary as summary,
)
