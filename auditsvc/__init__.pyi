from auditsvc.library import Answer as Answer
from auditsvc.library import Reader as Reader
from auditsvc.library import open_store as open_store
from auditsvc.library import read_log as read_log

__version__: str
