from .foreign import (
    ReadOptions as ReadOptions,
    read_foreign as read_foreign,
)
from .form import (
    Form as Form,
)
from .forms import (
    FORMS as FORMS,
    with_stored as with_stored,
    with_test as with_test,
)
from .readers import (
    is_export as is_export,
    read as read,
    read_test as read_test,
)
from .writers import (
    ExportOptions as ExportOptions,
    clear as clear,
    ensure as ensure,
    export as export,
)
